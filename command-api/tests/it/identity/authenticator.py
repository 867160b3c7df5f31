"""Authenticators for the tests of passkeys: soft-webauthn's, driven by lines of JSON on standard input.

soft-webauthn only ever says that its user was present. With "verified" the flag for a verified user is set too, and an assertion is
signed again with the device's own key.
"""

import json
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.utils import sha256
from soft_webauthn import SoftWebauthnDevice

USER_VERIFIED = 0x04
FLAGS_AT = 32


def to_text(raw):
    return urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def to_bytes(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def with_verified_user(authenticator_data):
    flags = authenticator_data[FLAGS_AT] | USER_VERIFIED
    return authenticator_data[:FLAGS_AT] + bytes([flags]) + authenticator_data[FLAGS_AT + 1 :]


def create(device, request):
    options = request["options"]
    options["publicKey"]["challenge"] = to_bytes(options["publicKey"]["challenge"])
    options["publicKey"]["user"]["id"] = to_bytes(options["publicKey"]["user"]["id"])
    made = device.create(options, request["origin"])
    attestation = made["response"]["attestationObject"]
    if request["verified"]:
        attestation = cbor.decode(attestation)
        attestation["authData"] = with_verified_user(attestation["authData"])
        attestation = cbor.encode(attestation)
    return {
        "id": to_text(made["rawId"]),
        "rawId": to_text(made["rawId"]),
        "type": made["type"],
        "response": {
            "clientDataJSON": to_text(made["response"]["clientDataJSON"]),
            "attestationObject": to_text(attestation),
        },
    }


def get(device, request):
    options = request["options"]
    options["publicKey"]["challenge"] = to_bytes(options["publicKey"]["challenge"])
    made = device.get(options, request["origin"])
    response = made["response"]
    authenticator_data, signature = response["authenticatorData"], response["signature"]
    if request["verified"]:
        authenticator_data = with_verified_user(authenticator_data)
        signed = authenticator_data + sha256(response["clientDataJSON"])
        signature = device.private_key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return {
        "id": to_text(made["rawId"]),
        "rawId": to_text(made["rawId"]),
        "type": made["type"],
        "response": {
            "clientDataJSON": to_text(response["clientDataJSON"]),
            "authenticatorData": to_text(authenticator_data),
            "signature": to_text(signature),
            "userHandle": to_text(response["userHandle"]),
        },
    }


def main():
    devices = {}
    for line in sys.stdin:
        request = json.loads(line)
        device = devices.setdefault(request["device"], SoftWebauthnDevice())
        if "rp_id" in request:
            device.rp_id = request["rp_id"]
        if "sign_count" in request:
            device.sign_count = request["sign_count"]
        answer = {"create": create, "get": get}[request["do"]](device, request)
        print(json.dumps(answer), flush=True)


main()
