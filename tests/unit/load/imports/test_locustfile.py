from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from premortem.load.imports.draft import BadImport
from premortem.load.imports.locustfile import from_locustfile, locust_draft
from premortem.load.played import script
from premortem.load.steps import Declared, Step
from premortem.load.visitor import Exchange

SHOP = """
import os, random, time
from locust import FastHttpUser, HttpUser, SequentialTaskSet, TaskSet, between, constant, task

PRODUCTS = ["hat", "shoe"]

class Checkout(SequentialTaskSet):
    @task
    def basket(self):
        self.order = self.client.post("/basket", json={"item": 5}).json()["order"]["id"]

    @task
    def pay(self):
        self.client.post(f"/pay/{self.order}", data={"amount": "5"}, name="/pay")
        self.interrupt()

class Shopper(HttpUser):
    host = "https://shop.example"
    weight = 3
    wait_time = between(1, 5)
    tasks = {Checkout: 2}

    def on_start(self):
        answer = self.client.post("/login", {"user": "ann", "password": os.environ["PASSWORD"]})
        self.token = answer.json()["token"]

    @task(4)
    def browse(self):
        for page in range(1, 4):
            self.client.get(f"/list?page={page}", name="/list")
            time.sleep(0.5)
        self.look(random.choice(PRODUCTS))

    def look(self, product):
        with self.client.get("/product/" + product, catch_response=True,
                             headers={"Authorization": f"Bearer {self.token}"}) as response:
            if "price" not in response.text:
                response.failure("no price")

    @task
    def odd(self):
        'A docstring.'
        least = 1
        item = random.randint(least, 99)
        if self.rich:
            self.client.get("/item/%d" % item)
        self.client.get(compute())
        self.client.post("/upload", files={"a": open("x")})

class Robot(FastHttpUser):
    wait_time = constant_pacing(2)

    @task
    def ping(self):
        self.client.request("HEAD", "/ping", timeout=3, auth=("a", "b"))

class Base(HttpUser):
    abstract = True
    @task
    def nothing(self):
        self.client.get("/nothing")
"""


@pytest.fixture(scope="module")
def shopper() -> Declared:
    return locust_draft(SHOP).sheet().journeys[0]


def task(journey: Declared, name: str) -> tuple[Step, ...]:
    return next(task.steps for task in journey.tasks if task.name == name)


def test_user_classes_become_journeys(shopper: Declared) -> None:
    assert [j.name for j in locust_draft(SHOP).sheet().journeys] == ["Shopper", "Robot"]
    assert (shopper.weight, shopper.think.low_s, shopper.think.high_s) == (3.0, 1.0, 5.0)
    assert {t.name: t.weight for t in shopper.tasks} == {"browse": 4.0, "odd": 1.0, "Checkout": 2.0}


def test_on_start_is_done_first_and_its_values_are_kept(shopper: Declared) -> None:
    (login,) = shopper.steps
    assert login.form == {"user": "ann", "password": "{env.PASSWORD}"}
    assert (login.extract["token"].kind, login.extract["token"].where) == ("json", "token")


def test_loops_sleeps_helpers_choices_and_checks(shopper: Declared) -> None:
    *pages, product = task(shopper, "browse")
    assert [p.path for p in pages] == ["/list?page=1", "/list?page=2", "/list?page=3"]
    assert all(p.name == "/list" and p.think.low_s == 0.5 for p in pages)
    assert product.path == "/product/{choice_1.value}"
    assert product.headers == {"Authorization": "Bearer {token}"}
    assert product.check.contains == "price"
    assert locust_draft(SHOP).feeds == {"choice_1": [{"value": "hat"}, {"value": "shoe"}]}


def test_a_sequence_is_one_task_whose_values_go_on(shopper: Declared) -> None:
    basket, pay = task(shopper, "Checkout")
    assert basket.json == {"item": 5}
    assert basket.extract["order"].where == "order.id"
    assert (pay.path, pay.form) == ("/pay/{order}", {"amount": "5"})


def test_what_does_not_map_is_named_with_its_line() -> None:
    notes = "\n".join(locust_draft(SHOP).notes)
    for words in (
        "the condition is not kept: self.rich",
        "not mapped: compute()",
        "not mapped: an upload to '/upload'",
        "auth= is not mapped",
        "wait_time = constant_pacing(…) is not mapped",
        "class Shopper: its host is https://shop.example",
        "users leave after 10 tasks",
    ):
        assert words in notes
    line = 1 + SHOP[: SHOP.index("self.client.get(compute())")].count("\n")
    assert f"line {line}: not mapped: compute()" in notes


def test_the_journey_plays(played: Any, shopper: Declared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "pw")
    body = b'{"token": "t1", "order": {"id": 9}, "price": 1}'
    draft = locust_draft(SHOP)
    commands = played(script(shopper, draft.sheet().feeds), lambda asked: body)
    asked = [command for command in commands if isinstance(command, Exchange)]
    assert asked[0].body == b"user=ann&password=pw"
    assert len(asked) > 10
    assert {e.target for e in asked} <= {
        "/login", "/list?page=1", "/list?page=2", "/list?page=3", "/product/hat", "/product/shoe",
        "/basket", "/pay/9", *(f"/item/{i}" for i in range(1, 100)),
    }  # fmt: skip


def test_the_file_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "locustfile.py"
    sign = tmp_path / "ran"
    path.write_text(f"open({str(sign)!r}, 'w')\n" + SHOP)
    from_locustfile(path)
    assert not sign.exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def (", "not a Python file"),
        ("x = 1", "no user class"),
        ("class A(HttpUser):\n    pass\n", "class A: no task"),
    ],
)
def test_a_bad_file_says_so(source: str, words: str) -> None:
    with pytest.raises(BadImport, match=words):
        locust_draft(source)
