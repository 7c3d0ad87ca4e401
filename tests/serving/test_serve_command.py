"""`-e serve` as a user has it: started, asked, promoted under load, broken and stopped."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.conftest import LONGEST, Project, Server, finish, free_port, thorough, wait_until
from tests.serving import grey_levels
from tests.serving.pictures import file_of, noise, plain, text_of
from tests.serving.serve_process import BODY, MODEL, Clients, Serving, bash, label_of

NAME = "digits-basic_cnn"


def point(project: Project, version: str | int, alias: str = "champion") -> None:
    project.client.set_registered_model_alias(NAME, alias, str(version))


@pytest.fixture(scope="module")
def serving(shop: Project) -> Iterator[Serving]:
    """A proxy is set that leads nowhere: the server must find itself all the same."""
    started = Serving(shop, "batch_limit=16", "body_limit=0.5", http_proxy="http://127.0.0.1:9")
    started.wait("ask it:")
    yield started
    if started.process.poll() is None:
        started.stop()


def test_the_command_that_it_prints_works_as_printed(serving: Serving, tmp_path: Path) -> None:
    assert f"answers on {serving.address} (Ctrl-C stops it)" in serving.wait("answers on")
    command = serving.wait("ask it:").split("ask it:", 1)[1]
    (tmp_path / "IMAGE.png").write_bytes(file_of(noise(300)))  # more than a command line holds
    assert (tmp_path / "IMAGE.png").stat().st_size > 2**17
    assert label_of(bash(command, tmp_path)).startswith("first ")


def test_version_health_and_ping(serving: Serving) -> None:
    found = serving.get("/version").json()
    assert (found["model"], found["version"], found["alias"], found["trouble"]) == (NAME, "1", "champion", None)
    assert len(found["run_id"]) == 32
    assert [serving.get(path).status_code for path in ("/health", "/ping", "/nothing", "/invocations")] == [
        200,
        200,
        404,
        405,
    ]


def test_the_page_may_load_nothing_from_elsewhere(serving: Serving) -> None:
    response = serving.get("/")
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "http://" not in response.text.replace("http://www.w3.org", "")
    assert "https://" not in response.text


def test_explanations(serving: Serving) -> None:
    found = serving.ask({"image": text_of(plain(200))}, "/explain").json()
    assert (found["label"], found["version"], len(found["top"])) == ("first 7", "1", 5)
    bad: list[Any] = [{}, [], "x", {"image": None}, {"image": "cat.png"}, {"image": [[1, 2], [3]]}, {"image": {"a": 1}}]
    for body in bad:
        assert serving.ask(body, "/explain").status_code == 400


def test_metrics_count(serving: Serving) -> None:
    names = ("imagelab_requests_total", "imagelab_request_seconds_count", "imagelab_batch_images_sum")
    before = [serving.figure(name) for name in names]
    for body in (BODY, {"inputs": [text_of(plain(200))] * 3}, {"inputs": ["x"]}):
        serving.ask(body)
    after = [serving.figure(name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [3, 3, 4]
    assert serving.figure("imagelab_model_version") == 1


def test_what_is_too_much(serving: Serving) -> None:
    many = serving.ask({"inputs": [text_of(plain(1))] * 17})
    assert (many.status_code, many.json()["message"]) == (400, "these are 17 images; send at most 16 at once")
    large = json.dumps({"inputs": ["A" * 600_000]}).encode()
    headers = {"Content-Type": "application/json"}
    for body in (large, iter([large[:400_000], large[400_000:]])):  # its length said beforehand, and in chunks
        response = requests.post(f"{serving.address}/invocations", body, headers=headers, timeout=LONGEST)
        assert (response.status_code, response.json()["message"]) == (413, "the request is larger than 0.5 MiB")


def test_clients_that_leave_in_the_middle_are_no_trouble(serving: Serving) -> None:
    said = len(serving.said)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", serving.port)) as client:
            client.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    with socket.create_connection(("127.0.0.1", serving.port)) as client:
        client.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert serving.ask().status_code == 200
    assert not [line for line in serving.said[said:] if "Traceback" in line]


def test_the_alias_moves_under_load(serving: Serving, shop: Project) -> None:
    clients = Clients(serving)
    try:
        for version, word in ((2, "second"), (1, "first"), (2, "second"), (1, "first")):
            before = clients.answered(word)
            wait_until(lambda: clients.seen)
            point(shop, version)
            moved = time.monotonic()
            clients.wait(word, before + 20)
            assert time.monotonic() - moved < 60  # no retry was waited for
    finally:
        clients.stop()
    assert not clients.failed
    assert {each[0] for each in clients.seen} == {200}
    assert {each[1:] for each in clients.seen} == {("1", "first"), ("2", "second")}
    assert serving.figure("imagelab_versions_loaded_total") == 5
    batches, images = (serving.figure(f"imagelab_batch_images_{each}") for each in ("count", "sum"))
    assert images > 1.2 * batches  # computed together, while eight asked


def test_a_damaged_version_leaves_the_old_one_answering(serving: Serving, shop: Project) -> None:
    shop.client.set_registered_model_alias(NAME, "previous", "1")
    for version, reason in ((3, "models:/digits-basic_cnn/3: "), (4, "models:/digits-basic_cnn/4: returned NaN")):
        point(shop, version)
        serving.wait_for_trouble(reason)
        assert serving.word() == "first"
        assert serving.get("/health").status_code == 200
        shop.client.delete_registered_model_alias(NAME, "previous")
    [first], [second] = ([line for line in serving.said if f"/{version}: " in line] for version in (3, 4))
    assert "go back to the version before: mlflow run . -e rollback" in first
    assert "there is none before it: train, then mlflow run . -e promote" in second
    shop.client.delete_registered_model_alias(NAME, "champion")
    serving.wait_for_trouble("alias=champion: digits-basic_cnn has no such alias")
    assert serving.word() == "first"
    point(shop, 1)
    wait_until(lambda: serving.get("/version").json()["trouble"] is None)


def test_ctrl_c_answers_what_is_under_way(serving: Serving) -> None:
    """A request whose second half comes after the signal is answered; then the port is free."""
    body = json.dumps(BODY).encode()
    with socket.create_connection(("127.0.0.1", serving.port)) as client:
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        client.sendall(head.encode() + b"\r\n\r\n" + body[:20])
        serving.ask()  # so the server has read the half
        serving.process.send_signal(signal.SIGINT)
        wait_until(lambda: refuses(serving.port))
        client.sendall(body[20:])
        assert b'"first ' in client.makefile("rb").read()
    assert serving.process.wait(LONGEST) == 0
    assert serving.process.stdout.read() == "stopped; digits-basic_cnn is not served any more\n"
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", serving.port))


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@thorough
def test_several_workers_and_a_token(shop: Project, tmp_path: Path) -> None:
    """Both answer, figures add up, one that dies is replaced, and nothing is left after SIGTERM."""
    token = tmp_path / "my token"
    token.write_text("s3cret-ü\n")
    serving = Serving(shop, "workers=2", f"token_file={token}")
    known = {"headers": {"Authorization": "Bearer s3cret-ü".encode()}}
    command = serving.wait("ask it:").split("ask it:", 1)[1]
    (tmp_path / "IMAGE.png").write_bytes(file_of(plain(200)))
    assert label_of(bash(command, tmp_path)) == "first 7"
    assert str(token) in command
    assert serving.ask(headers={"Authorization": "bearer  s3cret-ü".encode()}).status_code == 200

    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret-u"}, {"Authorization": "Bearer "}):
        for path in ("/invocations", "/explain"):
            assert serving.ask(path=path, headers=headers).status_code == 401
        for path in ("/version", "/metrics"):
            assert serving.get(path, headers=headers).status_code == 401
    assert [serving.get(path).status_code for path in ("/", "/health", "/ping")] == [200] * 3

    workers = [each for each in psutil.Process(serving.process.pid).children() if "spawn_main" in str(each.cmdline())]
    assert len(workers) == 2
    wait_until(lambda: serving.figure("imagelab_versions_loaded_total", **known) == 2)
    before = serving.figure("imagelab_requests_total", **known)
    for _ in range(20):  # each over a connection of its own
        assert serving.ask(**known).status_code == 200
    assert serving.figure("imagelab_requests_total", **known) == before + 20

    workers[0].kill()
    wait_until(lambda: serving.figure("imagelab_versions_loaded_total", **known) == 3)
    assert serving.ask(**known).status_code == 200
    everybody = psutil.Process(serving.process.pid).children(recursive=True)
    code, output = serving.stop(signal.SIGTERM)
    assert (code, output) == (0, "stopped; digits-basic_cnn is not served any more\n")
    psutil.wait_procs(everybody, LONGEST)
    assert not [each for each in everybody if each.is_running()]


def test_workers_do_not_outlive_their_supervisor(shop: Project) -> None:
    serving = Serving(shop, "workers=2")
    serving.wait("ask it:")
    everybody = psutil.Process(serving.process.pid).children(recursive=True)
    serving.process.kill()
    _, left = psutil.wait_procs(everybody, LONGEST)
    assert not left


def test_a_broken_model_is_one_line_whatever_the_workers(shop: Project) -> None:
    alone, together = Serving(shop, "alias=broken"), Serving(shop, "alias=broken", "workers=2")
    for serving in (alone, together):
        assert serving.process.wait(LONGEST) == 1
        serving.listener.join(10)
        assert len(serving.said) == 2, serving.said
        assert serving.said[0].startswith("loading version 3 of digits-basic_cnn (broken)")
        assert serving.said[1].startswith("serve: models:/digits-basic_cnn/3: model.keras is damaged (")
        assert "rollback" not in serving.said[1]  # which is for the champion only


def test_what_cannot_be_served_is_one_line(shop: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        used = taken.getsockname()[1]
        cases = {
            f"--port={used}": (2, f"port={used}: cannot listen on 127.0.0.1 (Address already in use)"),
            "--host=192.0.2.1": (2, "cannot listen on 192.0.2.1 ("),
            "--host=no such host": (2, "cannot listen on no such host ("),
            "--alias=winner": (2, "has no such alias; it has: broken (version 3), champion (version 1)\n"),
            "--workers=0": (2, "workers=0: "),
            "--poll_seconds=nan": (2, "poll_seconds=nan: "),
            f"--token_file={tmp_path / 'empty'}": (2, "must be a file that holds the token"),
            f"--token_file={tmp_path / 'nowhere'}": (2, "cannot be read (No such file or directory)"),
        }
        started = {}
        for flag in cases:
            words = [f"--{setting}" for setting in MODEL if not flag.startswith("--model") or "model" not in setting]
            words += [] if "port" in flag else [f"--port={free_port()}"]
            started[flag] = shop.start(sys.executable, "-m", "entrypoints.serve", *words, flag)
        for flag, process in started.items():
            code, output, errors = finish(process)
            assert (code, output) == (cases[flag][0], ""), (flag, errors)
            assert cases[flag][1] in errors
            assert errors.startswith("serve: ")
            assert errors.count("\n") == 1


def test_a_missing_model_is_said_with_what_there_is_and_its_command(shop: Project, project: Project) -> None:
    names = ("--dataset=digits", "--model=deeper_cnn", f"--port={free_port()}")
    started = [each.start(sys.executable, "-m", "entrypoints.serve", *names) for each in (shop, project)]
    (code, _, some), (other_code, _, none) = map(finish, started)
    assert code == other_code == 2
    for errors in (some, none):
        assert errors.splitlines()[-1] == "serve: dataset, model: there is no registered model digits-deeper_cnn"
    assert "digits-basic_cnn, champion is version 1" in some
    assert "mlflow run . -e serve --env-manager local -P dataset=digits -P model=basic_cnn" in some
    assert "no model has been registered yet" in none
    assert "mlflow run . -e train --env-manager local" in none


@thorough
def test_mlflow_run_leaves_no_run(shop: Project) -> None:
    before = len(shop.runs())
    mlflow = str(Path(sys.executable).with_name("mlflow"))
    flags = [word for setting in (*MODEL, "poll_seconds=0.2") for word in ("-P", setting)]
    port = free_port()
    command = (mlflow, "run", ".", "-e", "serve", "--env-manager", "local", *flags, "-P", f"port={port}")
    serving = Serving(shop, command=command, MLFLOW_TRACKING_URI=shop.uri)
    serving.address = f"http://127.0.0.1:{port}"
    serving.wait("ask it:")
    assert serving.word() == "first"
    os.killpg(serving.process.pid, signal.SIGINT)  # as a terminal does
    serving.process.wait(LONGEST)
    wait_until(lambda: refuses(port))
    wait_until(lambda: len(shop.runs()) == before)


@thorough
def test_the_registry_goes_away_and_comes_back(server: Server, project: Project) -> None:
    import mlflow

    client = mlflow.MlflowClient(server.uri)
    for word in ("first", "second"):
        grey_levels.register(client, project.folder / word, NAME, word)
    client.set_registered_model_alias(NAME, "champion", "1")
    serving = Serving(project, MLFLOW_TRACKING_URI=server.uri)
    serving.wait("ask it:")
    server.kill()
    serving.wait_for_trouble("the model registry does not answer")
    assert serving.word() == "first"
    assert serving.get("/health").status_code == 200
    server.start()
    client.set_registered_model_alias(NAME, "champion", "2")
    wait_until(lambda: serving.word() == "second")
    assert serving.get("/version").json()["trouble"] is None
    assert serving.stop()[0] == 0
