"""Sign and verify webhooks as the Standard Webhooks specification says (version 1, HMAC-SHA256).

What is signed is `id.timestamp.body`; a header may hold several signatures, of which one has to fit,
so that a secret can be changed without a gap. Pure: the time comes from the caller.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

#: How far the sender's clock may be from ours: an old message cannot be played again later.
TOLERANCE_SECONDS: Final = 300

ID_HEADER: Final = "webhook-id"
TIME_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
_SECRET_MARK: Final = "whsec_"  # noqa: S105 - how a secret is written, not one


def read_secret(secret: str) -> bytes:
    """Return a secret's key: what follows `whsec_` is base64, anything else is the key itself."""
    if not secret.startswith(_SECRET_MARK):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix(_SECRET_MARK), validate=True)
    except binascii.Error as error:
        raise ValueError("a secret that begins with whsec_ goes on in base64; mend it") from error


def sign(secrets: Iterable[str], message_id: str, at_seconds: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message.

    >>> sign(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
    ...     b'{"test": 2432232314}')["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signatures = [_signature(read_secret(secret), message_id, str(at_seconds), body) for secret in secrets]
    return {ID_HEADER: message_id, TIME_HEADER: str(at_seconds), SIGNATURE_HEADER: " ".join(signatures)}


def find_fault(secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now_seconds: float) -> str | None:
    """Return why a message is not to be believed, None where it is. Header names are lower case.

    >>> good = sign(["a long secret"], "m1", 1000, b"{}")
    >>> find_fault(["a long secret"], good, b"{}", 1001.0), find_fault(["another one"], good, b"{}", 1001.0)
    (None, 'no signature fits')
    """
    message_id, at, given = (headers.get(name, "") for name in (ID_HEADER, TIME_HEADER, SIGNATURE_HEADER))
    if not message_id or not at or not given:
        return f"it needs the headers {ID_HEADER}, {TIME_HEADER} and {SIGNATURE_HEADER}"
    if not at.isascii() or not at.isdigit() or len(at) > 12:
        return f"{TIME_HEADER} is no time in seconds"
    if abs(now_seconds - int(at)) > TOLERANCE_SECONDS:
        return f"{TIME_HEADER} is more than {TOLERANCE_SECONDS} s from now"
    wanted = [_signature(read_secret(secret), message_id, at, body).encode() for secret in secrets]
    # Every pair is compared, so that the time taken says nothing about which fits.
    fits = [hmac.compare_digest(one.encode(), own) for one in given.split(" ")[:10] for own in wanted]
    return None if any(fits) else "no signature fits"


def _signature(key: bytes, message_id: str, at: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(), at.encode(), body))
    return f"v1,{b64encode(hmac.new(key, signed, sha256).digest()).decode()}"
