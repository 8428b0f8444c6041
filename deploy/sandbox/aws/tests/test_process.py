"""The process: how it starts and ends, what it listens on, its connections and its namespaces."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest

from tests.conftest import PACKAGE, StandIn, refused, start, until


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()}


def can_make_namespaces() -> bool:
    made = subprocess.run(["ip", "netns", "add", "standin-test"], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "delete", "standin-test"], check=True)
    return made


def test_it_ends_on_sigterm_and_leaves_a_log(tmp_path: Path) -> None:
    process, standin = start("--log", str(tmp_path / "log"))
    standin.client("ec2").describe_vpcs()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    [line] = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["action"] == "DescribeVpcs"


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'standin', '--port', '0', '--log', "
        f"{str(tmp_path / 'log')!r}, '--parent-death'], stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid)"
    )
    parent = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE, capture_output=True, text=True, check=True)
    child = Path("/proc") / parent.stdout.strip()
    until(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text())


def test_it_listens_on_loopback_only(standin: StandIn) -> None:
    port = urlparse(standin.url).port
    assert port is not None
    with socket.socket() as other:
        # Free on every other address of this machine: it is bound to 127.0.0.1 alone.
        other.bind(("127.0.0.2", port))


def test_connections_are_kept(standin: StandIn) -> None:
    connection = http.client.HTTPConnection(urlparse(standin.url).netloc)
    connection.connect()
    used = connection.sock
    for path in ("/_sandbox/health", "/_sandbox/nothing", "/_sandbox/settings"):
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock is used
    connection.close()


def test_unknown_services_regions_and_signatures_are_refused_properly(standin: StandIn) -> None:
    assert refused(standin.client("ec2", region="mars-north-1").describe_vpcs) == "AuthFailure"
    assert refused(standin.client("s3", region="mars-north-1").list_buckets) == "AuthorizationHeaderMalformed"
    assert refused(standin.client("sts", region="mars-north-1").get_caller_identity) == "SignatureDoesNotMatch"
    assert refused(standin.client("sqs").list_queues)
    connection = http.client.HTTPConnection(urlparse(standin.url).netloc)
    for method, path, body, code in (
        ("GET", "/some-bucket", "", "AccessDenied"),
        ("POST", "/", "Action=DescribeVpcs&Version=2016-11-15", "AuthFailure"),
    ):
        connection.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"} if body else {})
        answer = connection.getresponse()
        assert code in answer.read().decode()
        assert answer.status in (401, 403)
    connection.close()


def test_an_unknown_action_is_refused(standin: StandIn) -> None:
    connection = http.client.HTTPConnection(urlparse(standin.url).netloc)
    scope = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/ec2/aws4_request, Signature=0"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": scope}
    connection.request("POST", "/", "Action=MakeCoffee&Version=2016-11-15", headers)
    answer = connection.getresponse()
    assert (answer.status, "InvalidAction" in answer.read().decode()) == (400, True)
    connection.close()


def test_public_addresses_come_from_the_range_that_was_given(tmp_path: Path) -> None:
    process, standin = start("--log", str(tmp_path / "log"), "--public-range", "198.19.4.0/30")
    ec2 = standin.client("ec2")
    drawn = [ec2.allocate_address(Domain="vpc")["PublicIp"] for _ in range(3)]
    assert drawn == ["198.19.4.1", "198.19.4.2", "198.19.4.1"]
    process.terminate()
    process.wait(5)


@pytest.mark.skipif(not can_make_namespaces(), reason="this machine does not allow network namespaces")
def test_each_vpc_has_a_namespace(tmp_path: Path) -> None:
    others = namespaces()
    process, standin = start("--log", str(tmp_path / "log"), "--network-namespaces")
    ec2 = standin.client("ec2")
    assert namespaces() == others
    one, two = (ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] for _ in range(2))
    assert namespaces() == others | {one, two}
    loopback = subprocess.run(["ip", "-netns", one, "link", "show", "lo"], capture_output=True, text=True, check=True)
    assert "UP" in loopback.stdout
    ec2.delete_vpc(VpcId=one)
    assert namespaces() == others | {two}
    standin.control("POST", "reset")
    assert namespaces() == others
    ec2.create_vpc(CidrBlock="10.0.0.0/16")
    process.terminate()
    process.wait(5)
    assert namespaces() == others


def test_no_namespaces_is_an_error_at_the_start(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "standin", "--log", str(tmp_path / "log"), "--network-namespaces"],
        cwd=PACKAGE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert ended.returncode == 1
    assert "cannot make network namespaces" in ended.stderr
    assert ended.stdout == ""
