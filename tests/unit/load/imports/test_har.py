from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from premortem.load.imports.draft import BadImport
from premortem.load.imports.har import from_har, har_draft
from premortem.load.played import script
from premortem.load.visitor import Exchange, Pause

SHOP = "https://shop.example"
LOGIN = '<form><input type="hidden" value="tok-9f3a8b7c" name="csrf"></form>'
LIST = '{"items": [{"id": 4711, "name": "hat"}, {"id": 4712, "name": "shoe"}]}'


def entry(
    at_s: float, method: str, url: str, *, status: int = 200, mime: str = "text/html",
    body: str = "", took_ms: float = 50, post: dict[str, Any] | None = None, kind: str = "",
    sent: dict[str, str] | None = None, got: list[tuple[str, str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    minutes, seconds = divmod(at_s, 60)
    headers = [{"name": name, "value": value} for name, value in (sent or {}).items()]
    return {
        "startedDateTime": f"2026-01-05T10:{int(minutes):02}:{seconds:06.3f}Z",
        "time": took_ms,
        "_resourceType": kind,
        "request": {
            "method": method, "url": url, "headers": headers, **({"postData": post} if post else {})
        },
        "response": {
            "status": status,
            "headers": [{"name": name, "value": value} for name, value in got or []],
            "content": {"mimeType": mime, "text": body},
        },
    }  # fmt: skip


def form(**fields: str) -> dict[str, Any]:
    params = [{"name": name, "value": value} for name, value in fields.items()]
    return {"mimeType": "application/x-www-form-urlencoded", "params": params}


def har(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"log": {"version": "1.2", "entries": list(entries)}}


RECORDING = har(
    entry(0, "GET", f"{SHOP}/login", body=LOGIN, kind="document",
          got=[("Set-Cookie", "session=s3ss10n-abcdef123; Path=/")]),
    entry(0.1, "GET", f"{SHOP}/static/app.js", mime="text/javascript"),
    entry(0.2, "GET", "https://analytics.example/collect?v=1"),
    entry(4.05, "POST", f"{SHOP}/login", status=302, got=[("Location", "/home")],
          post=form(user="ann", password="hunter2", csrf="tok-9f3a8b7c")),
    entry(4.15, "GET", f"{SHOP}/home", body="<a href='/order/90001'>yours</a>"),
    entry(6.2, "GET", f"{SHOP}/api/items", mime="application/json", body=LIST,
          sent={"Accept": "application/json"}),
    entry(6.3, "POST", f"{SHOP}/api/basket", mime="application/json", body="{}",
          post={"mimeType": "application/json", "text": '{"item_id": 4712, "note": null}'}),
    entry(400, "GET", f"{SHOP}/order/90001"),
    entry(401, "GET", f"{SHOP}/old/77777", status=404),
)  # fmt: skip


def test_a_recording_becomes_a_journey_of_one_host() -> None:
    (journey,) = har_draft(RECORDING).sheet().journeys
    assert [(s.method, s.name) for s in journey.steps] == [
        ("GET", "GET /login"), ("POST", "POST /login"), ("GET", "GET /api/items"),
        ("POST", "POST /api/basket"), ("GET", "GET /order/:id"), ("GET", "GET /old/:id"),
    ]  # fmt: skip


def test_what_is_left_out_is_said() -> None:
    notes = "\n".join(har_draft(RECORDING).notes)
    assert "left out 1 static files (--static keeps them), as /static/app.js" in notes
    assert "left out 1 requests to analytics.example, as /collect" in notes
    assert "redirects' targets: the engine follows them itself, as /home" in notes
    assert "/old/77777 looks like an id that no earlier answer holds: kept as recorded" in notes
    assert "step 6: answered 404, so that is expected" in notes


def test_secrets_are_not_written_down() -> None:
    draft = har_draft(RECORDING)
    text = "".join(draft.files("journey.toml").values())
    assert "hunter2" not in text and "s3ss10n" not in text
    assert 'password = "{env.PASSWORD}"' in text
    assert any("set the environment variable PASSWORD" in note for note in draft.notes)


def test_values_of_earlier_answers_are_extracted() -> None:
    login, posted, items, basket, order, _ = har_draft(RECORDING).sheet().journeys[0].steps
    assert (login.extract["csrf"].kind, login.extract["csrf"].where) == ("field", "csrf")
    assert posted.form is not None and posted.form["csrf"] == "{csrf}"
    assert (items.extract["item_id"].kind, items.extract["item_id"].where) == ("json", "items.*.id")
    assert basket.body == '{"item_id": {item_id}, "note": null}'  # TOML has no null
    # the page that the redirect led to is what the POST's step sees
    found = posted.extract["order_id"]
    assert (found.kind, found.where, found.any) == ("regex", "/order/([0-9]+)", True)
    assert order.path == "/order/{order_id}"


def test_pauses_are_the_gaps_between_answer_and_request() -> None:
    steps = har_draft(RECORDING).sheet().journeys[0].steps
    thinks = [(s.think.low_s, s.think.high_s) for s in steps]
    assert thinks[0] == (2.0, 6.0)  # 4.05 s less the 50 ms of the answer, ± 50 %
    assert thinks[1] == (1.0, 3.0)  # counted from the end of the redirect's target
    assert thinks[2] == (0.0, 0.0)  # 50 ms: the browser, not a person
    assert thinks[3] == (60.0, 180.0)  # lunch
    assert thinks[-1] == (0.0, 0.0)


def test_the_journey_plays(played: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "pw")
    sheet = har_draft(RECORDING).sheet()
    bodies = {"/login": LOGIN.replace("tok-9f3a8b7c", "fresh"), "/api/items": LIST}

    def answer(asked: Exchange) -> bytes:
        if asked.method == "POST":
            return b"<a href='/order/5'>"
        return bodies.get(asked.target, "").encode()

    commands = played(script(sheet.journeys[0], sheet.feeds), answer)
    asked = [command for command in commands if isinstance(command, Exchange)]
    assert b"user=ann&password=pw&csrf=fresh" in asked[1].message
    assert json.loads(asked[3].body)["item_id"] in (4711, 4712)
    assert asked[4].target == "/order/5"
    assert sum(isinstance(command, Pause) for command in commands) == 4


@pytest.mark.parametrize("static", [False, True])
def test_static_files_are_kept_when_asked_for(static: bool) -> None:
    names = [s.name for s in har_draft(RECORDING, static=static).sheet().journeys[0].steps]
    assert ("GET /static/app.js" in names) == static


def test_another_host_can_be_chosen() -> None:
    steps = har_draft(RECORDING, host="analytics.example").sheet().journeys[0].steps
    assert [step.path for step in steps] == ["/collect?v=1"]


def test_braces_in_a_recording_are_no_holes() -> None:
    data = har(entry(0, "POST", f"{SHOP}/q", post={"mimeType": "text/plain", "text": "{name}"}))
    (step,) = har_draft(data).sheet().journeys[0].steps
    assert step.body == "{brace}name}"


def test_a_token_of_a_json_answer_goes_into_the_header() -> None:
    data = har(
        entry(0, "POST", f"{SHOP}/token", mime="application/json", body='{"access": "a1b2c3d4e5"}'),
        entry(1, "GET", f"{SHOP}/me", sent={"Authorization": "Bearer a1b2c3d4e5"}),
    )
    first, second = har_draft(data).sheet().journeys[0].steps
    assert first.extract["authorization"].where == "access"
    assert second.headers == {"authorization": "Bearer {authorization}"}


def test_entries_that_cannot_be_read_are_counted() -> None:
    broken = [{}, {"request": {}}, entry(0, "GET", f"{SHOP}/")]
    draft = har_draft({"log": {"entries": broken}})
    assert any("left out 2 entries that cannot be read" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "no log.entries"),
        ("[", "Expecting"),
        ('{"log": {"entries": []}}', "no requests"),
        (json.dumps(har(entry(0, "GET", f"{SHOP}/a.png"))), "no requests to shop.example"),
    ],
)
def test_a_bad_file_says_so(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.har"
    path.write_text(text)
    with pytest.raises(BadImport, match=words):
        from_har(path)


def test_the_file_it_writes_is_the_journey() -> None:
    draft = har_draft(RECORDING)
    text = draft.files("journey.toml")["journey.toml"]
    assert tomllib.loads(text) == draft.data
    assert text.startswith("# Imported;")
