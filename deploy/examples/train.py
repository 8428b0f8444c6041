"""Trains XGBoost with Ray Train on two workers, on data made on the spot, and leaves the model in a bucket.

    ray job submit --working-dir deploy/examples -- python train.py --bucket NAME-OF-THE-MODELS-BUCKET

The cluster needs ray[train], xgboost-cpu and pandas (spec.pipPackages), and its machines an instance profile
(iamInstanceProfile) that may write to the bucket.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy
import pandas
import ray
import ray.data
import ray.train
import xgboost
from ray.train.xgboost import RayTrainReportCallback, XGBoostTrainer


def make_data(rows: int) -> pandas.DataFrame:
    """A table with ten features; the sign of a sum of some of them is what is to be learnt."""
    random = numpy.random.default_rng(seed=1)
    features = random.normal(size=(rows, 10))
    table = pandas.DataFrame(features, columns=[f"f{number}" for number in range(10)])
    table["label"] = (features[:, 0] + 2 * features[:, 1] - features[:, 2] > 0).astype(int)
    return table


def train(config: dict[str, Any]) -> None:
    """What each worker does with its share of the data."""
    table = ray.train.get_dataset_shard("train").materialize().to_pandas()
    matrix = xgboost.DMatrix(table.drop(columns="label"), label=table["label"])
    xgboost.train(
        {"objective": "binary:logistic", "eval_metric": "error", "nthread": 1},
        matrix,
        num_boost_round=config["rounds"],
        evals=[(matrix, "train")],
        callbacks=[RayTrainReportCallback(frequency=0)],
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bucket", required=True, help="where the model goes")
    parser.add_argument("--name", default="example", help="the folder in the bucket")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=20_000)
    arguments = parser.parse_args()

    ray.init()
    result = XGBoostTrainer(
        train,
        train_loop_config={"rounds": arguments.rounds},
        scaling_config=ray.train.ScalingConfig(num_workers=2, placement_strategy="SPREAD"),
        datasets={"train": ray.data.from_pandas(make_data(arguments.rows))},
        run_config=ray.train.RunConfig(name=arguments.name, storage_path=f"s3://{arguments.bucket}"),
    ).fit()
    model = RayTrainReportCallback.get_model(result.checkpoint)
    print(f"trained {model.num_boosted_rounds()} rounds, error {result.metrics['train-error']:.4f}")
    print(f"the model is in {result.checkpoint.path}")


if __name__ == "__main__":
    main()
