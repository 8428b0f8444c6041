"""Buckets: names, owners, regions, defaults, and emptying them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import REGION, StandIn, refused

OTHER_KEY, OTHER_ACCOUNT, ACCOUNT = "AKIAOTHEROTHEROTHER1", "210987654321", "123456789012"
HERE = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}


@pytest.fixture
def s3(standin: StandIn) -> Any:
    """S3 of an emptied stand-in."""
    return standin.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    """A fresh bucket."""
    s3.create_bucket(Bucket="lab-raw", **HERE)
    return "lab-raw"


@pytest.fixture
def stranger(standin: StandIn) -> Any:
    """S3 as another account."""
    standin.settings(accounts={OTHER_KEY: OTHER_ACCOUNT})
    return standin.client("s3", access_key=OTHER_KEY)


@pytest.mark.parametrize(
    "name",
    ["ab", "x" * 64, "Upper", "a_b", "a..b", "192.168.1.1", "-ab", "ab-", "xn--a", "a-s3alias", "ab.", "sthree-x"],
)
def test_names_that_are_refused(s3: Any, name: str) -> None:
    assert refused(s3.create_bucket, Bucket=name, **HERE) == "InvalidBucketName"


@pytest.mark.parametrize("name", ["abc", "x" * 63, "a.b-c.3", "1-2-3", "lab-raw-0123456789abcdef"])
def test_names_that_are_taken(s3: Any, name: str) -> None:
    s3.create_bucket(Bucket=name, **HERE)
    s3.head_bucket(Bucket=name)


def test_location_constraints(standin: StandIn, s3: Any) -> None:
    assert refused(s3.create_bucket, Bucket="lab-raw") == "IllegalLocationConstraintException"
    elsewhere = {"LocationConstraint": "eu-west-1"}
    wrong = {"Bucket": "lab-raw", "CreateBucketConfiguration": elsewhere}
    assert refused(s3.create_bucket, **wrong) == "IllegalLocationConstraintException"
    virginia = standin.client("s3", "us-east-1")
    virginia.create_bucket(Bucket="lab-raw")
    assert virginia.get_bucket_location(Bucket="lab-raw")["LocationConstraint"] is None


def test_a_bucket_that_exists(s3: Any, bucket: str, stranger: Any) -> None:
    assert refused(s3.create_bucket, Bucket=bucket, **HERE) == "BucketAlreadyOwnedByYou"
    assert refused(stranger.create_bucket, Bucket=bucket, **HERE) == "BucketAlreadyExists"


def test_a_bucket_of_another_account(s3: Any, bucket: str, stranger: Any) -> None:
    assert refused(stranger.head_bucket, Bucket=bucket) == "403"
    for call in ("list_objects_v2", "get_bucket_tagging", "get_bucket_versioning", "delete_bucket"):
        assert refused(getattr(stranger, call), Bucket=bucket) == "AccessDenied"
    assert refused(stranger.put_object, Bucket=bucket, Key="a", Body=b"x") == "AccessDenied"
    assert stranger.list_buckets()["Buckets"] == []
    s3.head_bucket(Bucket=bucket)


def test_the_expected_owner(s3: Any, bucket: str) -> None:
    s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=ACCOUNT)
    wrong = {"Bucket": bucket, "ExpectedBucketOwner": OTHER_ACCOUNT}
    assert refused(s3.head_bucket, **wrong) == "403"
    enabled = {"VersioningConfiguration": {"Status": "Enabled"}}
    assert refused(s3.put_bucket_versioning, **wrong, **enabled) == "AccessDenied"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert refused(s3.delete_bucket, **wrong) == "AccessDenied"
    nonsense = {"Bucket": bucket, "ExpectedBucketOwner": "me"}
    assert refused(s3.get_bucket_versioning, **nonsense) == "InvalidBucketOwnerAWSAccountID"


def test_a_bucket_of_another_region(standin: StandIn, bucket: str) -> None:
    far = standin.client("s3", "eu-west-1")
    # boto3 follows the redirection once, to the region that the answer names.
    far.head_bucket(Bucket=bucket)
    first, second = (call for call in standin.calls() if call["action"] == "HeadBucket")
    assert (first["region"], first["status"], first["error"]) == ("eu-west-1", 301, "PermanentRedirect")
    assert (second["region"], second["status"]) == (REGION, 200)


def test_missing_buckets(s3: Any) -> None:
    assert refused(s3.head_bucket, Bucket="lab-none") == "404"
    assert refused(s3.get_bucket_versioning, Bucket="lab-none") == "NoSuchBucket"
    assert refused(s3.delete_bucket, Bucket="lab-none") == "NoSuchBucket"


def test_a_new_bucket_is_private_and_encrypted(s3: Any, bucket: str) -> None:
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    assert len(blocked) == 4
    [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    [ownership] = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership["ObjectOwnership"] == "BucketOwnerEnforced"
    assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == "AccessControlListNotSupported"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == "NoSuchTagSet"


def test_the_answer_about_versioning_is_named_as_on_aws(s3: Any, bucket: str) -> None:
    bodies: list[bytes] = []

    def keep_body(http_response: Any, **_: Any) -> None:
        bodies.append(http_response.content)

    # The client is shared, and reading an answer here takes the body away from who asked for it.
    s3.meta.events.register("after-call.s3", keep_body)
    try:
        s3.get_bucket_versioning(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.get_bucket_versioning(Bucket=bucket)
    finally:
        s3.meta.events.unregister("after-call.s3", keep_body)
    assert b"<VersioningConfiguration " in bodies[0]
    assert bodies[2].endswith(b"<Status>Enabled</Status></VersioningConfiguration>")


def test_settings_are_kept(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    open_ = {"BlockPublicAcls": False, "IgnorePublicAcls": True, "BlockPublicPolicy": True}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={**open_, "RestrictPublicBuckets": True})
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert open_.items() <= blocked.items()
    s3.delete_public_access_block(Bucket=bucket)
    assert refused(s3.get_public_access_block, Bucket=bucket) == "NoSuchPublicAccessBlockConfiguration"
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0] == rule
    s3.delete_bucket_encryption(Bucket=bucket)
    [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_creating_again_in_virginia_keeps_the_settings(standin: StandIn) -> None:
    virginia = standin.client("s3", "us-east-1")
    virginia.create_bucket(Bucket="lab-raw")
    virginia.delete_public_access_block(Bucket="lab-raw")
    virginia.create_bucket(Bucket="lab-raw")
    missing = "NoSuchPublicAccessBlockConfiguration"
    assert refused(virginia.get_public_access_block, Bucket="lab-raw") == missing


def test_tags(s3: Any, bucket: str) -> None:
    tags = [{"Key": "rayward.dev/cluster", "Value": "ml/lab"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    for wrong, code in (
        ([{"Key": f"k{number}", "Value": ""} for number in range(51)], "BadRequest"),
        ([{"Key": "k" * 129, "Value": ""}], "InvalidTag"),
        ([{"Key": "k", "Value": "v" * 257}], "InvalidTag"),
        ([{"Key": "aws:k", "Value": ""}], "InvalidTag"),
        ([{"Key": "k", "Value": ""}, {"Key": "k", "Value": ""}], "InvalidTag"),
    ):
        assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": wrong}) == code
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == "NoSuchTagSet"


def test_tags_at_creation(s3: Any) -> None:
    tags = [{"Key": "a", "Value": "b"}]
    s3.create_bucket(Bucket="lab-raw", CreateBucketConfiguration={"LocationConstraint": REGION, "Tags": tags})
    assert s3.get_bucket_tagging(Bucket="lab-raw")["TagSet"] == tags


def test_listing_buckets(s3: Any) -> None:
    names = [f"lab-{number}" for number in range(5)]
    for name in [*names, "other"]:
        s3.create_bucket(Bucket=name, **HERE)
    pages = list(s3.get_paginator("list_buckets").paginate(Prefix="lab-", PaginationConfig={"PageSize": 2}))
    assert [len(page["Buckets"]) for page in pages] == [2, 2, 1]
    assert [each["Name"] for page in pages for each in page["Buckets"]] == names
    assert s3.list_buckets(BucketRegion="eu-west-1")["Buckets"] == []
    assert len(s3.list_buckets()["Buckets"]) == 6
    assert refused(s3.list_buckets, ContinuationToken="?", MaxBuckets=2) == "InvalidArgument"


def test_emptying_a_versioned_bucket(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(7):
        s3.put_object(Bucket=bucket, Key=f"data/{number % 3}", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="data/0")
    assert refused(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    rounds = 0
    while True:
        page = s3.list_object_versions(Bucket=bucket, MaxKeys=3)
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not found:
            break
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        rounds += 1
    assert rounds == 3
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.head_bucket, Bucket=bucket) == "404"


def test_multipart_uploads(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"x" * 100)
    [listed] = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert (listed["Key"], listed["UploadId"]) == ("big", upload)
    s3.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert refused(s3.abort_multipart_upload, Bucket=bucket, Key="big", UploadId=upload) == "NoSuchUpload"


def test_objects(s3: Any, bucket: str) -> None:
    content = bytes(range(256)) * 20000
    s3.put_object(Bucket=bucket, Key="deep/a b+ü", Body=content)
    assert s3.get_object(Bucket=bucket, Key="deep/a b+ü")["Body"].read() == content
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["deep/a b+ü"]
    assert refused(s3.get_object, Bucket=bucket, Key="none") == "NoSuchKey"


def test_parameters_are_recorded(standin: StandIn, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}, ExpectedBucketOwner=ACCOUNT)
    s3.put_object(Bucket=bucket, Key="a", Body=b"hush")
    versioning, put = standin.calls()[-2:]
    assert versioning["params"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert versioning["params"]["ExpectedBucketOwner"] == ACCOUNT
    assert (put["params"]["Bucket"], put["params"]["Key"]) == (bucket, "a")
    assert "hush" not in repr(put)


def test_accounts_by_access_key(standin: StandIn) -> None:
    standin.settings(accounts={OTHER_KEY: OTHER_ACCOUNT})
    assert standin.client("sts").get_caller_identity()["Account"] == ACCOUNT
    assert standin.client("sts", access_key=OTHER_KEY).get_caller_identity()["Account"] == OTHER_ACCOUNT
    mine, theirs = standin.client("ec2"), standin.client("ec2", access_key=OTHER_KEY)
    vpc = mine.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert refused(theirs.describe_vpcs, VpcIds=[vpc]) == "InvalidVpcID.NotFound"
