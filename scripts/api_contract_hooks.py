"""What Schemathesis cannot know: who asks, and which family there is. Loaded by scripts/api-contract.py."""

import os

import schemathesis

TOKEN = os.environ["CONTRACT_TOKEN"]
# Somebody who may lose their session, or their account: a run must not sign its own person out.
LOSER = os.environ["CONTRACT_LOSER"]
CHANGES_ACCOUNTS = "/api/v1/auth/"
KNOWN = {"family_id": os.environ["CONTRACT_FAMILY"], "member_id": os.environ["CONTRACT_MEMBER"]}


# Asked for each request: a token is kept for all of them otherwise, whoever it is of.
@schemathesis.auth(refresh_interval=None)
class Bearer:
    """The token of whoever this run is; nobody has none."""

    def get(self, case, context):
        is_of_account = case.method.upper() != "GET" and case.path.startswith(CHANGES_ACCOUNTS)
        return LOSER if is_of_account else TOKEN

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
