#!/usr/bin/env python3
"""Holds the OpenAPI document against a running server: Schemathesis sends what the document allows and what it forbids, as
several members of a small household and as nobody, and every answer has to be one that the document lists.

    scripts/setup.sh test                                    # brings Schemathesis into .cache
    .cache/schemathesis-venv/bin/python scripts/api-contract.py target/debug/kinledger [--seed N] [--examples N]

Exits 1 when an answer is a 5xx, a status, content type or body the document does not know, a method it does not have that is
taken, or a route that wants a token and answers without one.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
PASSWORD = "a long sentence nobody guesses"
READY_WITHIN_S = 120
# What all runs together may take: random examples are asked for until it is spent.
SECONDS_MAX = 260
# Who asks. The first reaches every operation, and has a share of the time for that; the others divide what is left.
ASKING = ("parent", "partner", "teen", "child", "auditor", "stranger", "nobody")
SHARE_OF_FIRST = 0.45

# Every check there is, but those that ask for something else than the document's truth:
CHECKS_LEFT_OUT = {
    # Whether a body is taken depends on the ledger as it is (a chore that is there, a wallet that is full enough), so that a
    # well-formed one may be refused by 404, 409 or 422. The document lists these answers; that they come is right.
    "positive_data_acceptance": "rules refuse well-formed requests",
    # A path that names nothing is answered 404 before its body is looked at, and query strings know no types. What malformed
    # input does is the subject of tests/it/malformed.
    "negative_data_rejection": "kinledger/tests/it/malformed holds it, byte by byte",
    # Nothing is deleted in an append-only ledger; what was made stays readable to those who may read it.
    "use_after_free": "nothing is freed",
    # A view follows its command within moments, and only `min_family_seq` waits for it.
    "ensure_resource_availability": "views follow commands; min_family_seq waits",
    # Needs accounts declared in the document; kinledger/tests/it/isolation tries every route with a stranger's token.
    "object_level_authorization": "kinledger/tests/it/isolation holds it",
}
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the kinledger to start")
    parser.add_argument("--seed", type=int, default=20261121, help="repeats a run")
    parser.add_argument("--examples", type=int, default=8, help="random examples an operation")
    parser.add_argument("--include", help="operations whose path matches this, only")
    arguments = parser.parse_args()
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="kinledger-contract-")
    os.chmod(folder, 0o711)  # Postgres may run as another user, who has to get through.
    server = Server(arguments.program, folder)
    try:
        household = Household(server.base)
        verdicts = [
            run(server, household, who, arguments, began, folder) for who in ASKING
        ]
    finally:
        server.stop()
    panics = re.findall(r".*panicked at.*", server.logged())
    shutil.rmtree(folder, ignore_errors=True)
    for line in panics:
        print(f"the server said: {line}")
    seconds = time.monotonic() - began
    cases = sum(verdict["cases"] for verdict in verdicts)
    print(f"api-contract: {cases} cases in {seconds:.0f} s, seed {arguments.seed}")
    for verdict in verdicts:
        verdict["said"] = "ok" if verdict["ok"] else "FAILED"
        print("  as {who:9} {cases:6} cases of {reached} operations  {said}".format(**verdict))
    sys.exit(0 if all(verdict["ok"] and verdict["cases"] > 0 for verdict in verdicts) and not panics else 1)


class Server:
    """`kinledger up` on a folder of its own."""

    def __init__(self, program, folder):
        self.log = os.path.join(folder, "log")
        data = os.path.join(folder, "data")
        # Sessions of generated requests come faster than any person's.
        command = [program, "up", "--data-dir", data, "--listen", "127.0.0.1:0", "--rate-limits", "off"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KINLEDGER_")}
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**environment, "RUST_LOG": "error"}, stdin=subprocess.DEVNULL
            )
        until = time.monotonic() + READY_WITHIN_S
        while not (found := re.search(r"open (http://\S+)", self.logged())):
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the server did not start:\n{self.logged()}")
            time.sleep(0.1)
        self.base = found.group(1)

    def logged(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Household:
    """A family with one of each role, something in its books, and somebody who does not belong to it."""

    def __init__(self, base):
        self.base = base
        self.tokens = {who: self.register(who) for who in ASKING[:-1] + ("loser",)}
        founded = self.post("parent", "/api/v1/families", {"name": "Contract", "currency": "EUR", "zone": "Europe/Lisbon", "country": "PT"})
        self.family = founded["family_id"]
        members = {role: self.member_as(role) for role in ("partner", "teen", "child", "auditor")}
        self.member = members["child"]
        self.command("set-budget", {"category": "groceries", "amount": {"amount": "100.00", "currency": "EUR"}}, may_fail=True)

    def register(self, name):
        email = f"{name}-{uuid.uuid4().hex[:12]}@example.org"
        answer = self.post(None, "/api/v1/auth/register", {"email": email, "password": PASSWORD, "display_name": name.title()})
        return answer["access_token"]

    def member_as(self, role):
        """Somebody of this role in the family."""
        place = {"display_name": role.title(), "role": role}
        if role in ("teen", "child"):
            consent = {"method": "signed-form", "notice_version": 1}
            place.update({"on_leaderboard": True, "consent": consent})
        member = payload(self.command("add-member", place), "MemberAdded")["member_id"]
        invited = self.post("parent", f"/api/v1/families/{self.family}/members/{member}/invitation", {})
        self.post(role, "/api/v1/auth/join", {"code": invited["code"]})
        return member

    def command(self, name, body, may_fail=False):
        try:
            return self.post("parent", f"/api/v1/families/{self.family}/commands/{name}", body)
        except urllib.error.HTTPError as error:
            if not may_fail:
                sys.exit(f"{name}: {error.read().decode()}")

    def post(self, who, path, body):
        headers = {"content-type": "application/json", "idempotency-key": str(uuid.uuid4())}
        if who:
            headers["authorization"] = f"Bearer {self.tokens[who]}"
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")


def payload(receipt, event):
    return next(found["payload"] for found in receipt["events"] if found["type"] == event)


def run(server, household, who, arguments, began, folder):
    """One run of Schemathesis as one of them."""
    report = os.path.join(folder, f"{who}.json")
    is_first, runs_left = who == ASKING[0], len(ASKING) - ASKING.index(who)
    share = SHARE_OF_FIRST if is_first else 1 / runs_left
    left = max(5, int((SECONDS_MAX - (time.monotonic() - began)) * share))
    command = [
        os.path.join(os.path.dirname(sys.executable), "st"), "run", server.base + "/api/v1/openapi.json",
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(arguments.examples), "--max-time", str(left), "--seed", str(arguments.seed), "--workers", "1",
        "--continue-on-failure", "--no-shrink", "--generation-database", "none", "--request-timeout", "20",
        "--warnings", "off", "--suppress-health-check", "all", "--report", "json", "--report-json-path", report, "--no-color",
    ]
    if arguments.include:
        command += ["--include-path-regex", arguments.include]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "api_contract_hooks",
        "PYTHONPATH": HERE,
        "PYTHONDONTWRITEBYTECODE": "1",
        "CONTRACT_FAMILY": household.family,
        "CONTRACT_MEMBER": household.member,
        "CONTRACT_TOKEN": household.tokens.get(who, ""),
        "CONTRACT_LOSER": household.tokens["loser"] if who != "nobody" else "",
        "NO_COLOR": "1",
    }
    print(f"== as {who}", flush=True)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=folder)
    print(done.stdout)
    counted = re.search(r"([\d,]+) generated", done.stdout)
    cases = int(counted.group(1).replace(",", "")) if counted else 0
    # Time is bounded, and a busy machine may not reach all; the first run has most of it and must.
    selected, tested = (re.search(rf"{word}: (\d+)", done.stdout) for word in ("Selected", "Tested"))
    reached = bool(selected and tested) and (selected.group(1) == tested.group(1) or not is_first)
    if not reached:
        print(f"as {who} not every operation was reached within {left} s")
    share = f"{tested.group(1)} of {selected.group(1)}" if selected and tested else "no"
    return {"who": who, "cases": cases, "reached": share, "ok": done.returncode == 0 and reached}


if __name__ == "__main__":
    main()
