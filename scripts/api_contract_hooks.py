"""What Schemathesis cannot know: who asks, and which family there is. Loaded by scripts/api-contract.py."""

import os

import schemathesis

TOKEN = os.environ["CONTRACT_TOKEN"]
# Somebody who may lose their session, or their account.
LOSER = os.environ["CONTRACT_LOSER"]
ENDS_SESSIONS = ("/auth/logout", "/auth/sessions", "/auth/password", "/auth/account", "/auth/profile")
KNOWN = {"family_id": os.environ["CONTRACT_FAMILY"], "member_id": os.environ["CONTRACT_MEMBER"]}


@schemathesis.auth()
class Bearer:
    """The token of whoever this run is; nobody has none."""

    def get(self, case, context):
        ends = case.method.upper() != "GET" and any(part in case.path for part in ENDS_SESSIONS)
        return LOSER if ends else TOKEN

    def set(self, case, data, context):
        if data:
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Most requests are about the family there is; a guessed name would only ever be answered 404."""
    for name, value in KNOWN.items():
        if path_parameters and name in path_parameters and len(str(path_parameters[name])) % 4:
            path_parameters[name] = value
    return path_parameters
