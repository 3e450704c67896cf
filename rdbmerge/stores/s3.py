"""The door to S3: one client, calls by name, and every failure of boto3 as a StoreError with place and remedy.

Tries again what may work later, with pauses that a stop ends. Knows nothing of what is asked, or why.
"""

from __future__ import annotations

import copy
import os
import random
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as failures
from botocore.config import Config

from rdbmerge.errors import RdbMergeError, StoppedError, StoreError, UsageError
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.stores.parts import PartBody
from rdbmerge.stores.refusals import Refusal

Answer = dict[str, Any]
Result = TypeVar("Result")

TRIES = 9  # of what may work later: about 40 s of pauses on average
_TRIES_OF_A_STRANGER = 3  # until the endpoint has answered once, its name may simply be wrong
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 16.0
_LOOK_EVERY_S = 0.1
_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_SIGNING_PASSES = 1  # over a body, where the signature covers it
_AMAZON_URL = "https://s3.amazonaws.com"
_DEFAULT_REGION = "us-east-1"  # what S3 takes an unnamed region for
_CREDENTIALS = (
    failures.NoCredentialsError, failures.PartialCredentialsError, failures.CredentialRetrievalError,
    failures.SSOError, failures.TokenRetrievalError, failures.NoAuthTokenError,
)  # fmt: skip
_OF_A_CALL = (
    failures.BotoCoreError, failures.ClientError, RdbMergeError, OSError, ValueError, TypeError, RuntimeError,
)  # fmt: skip
_CONNECTION = (failures.ConnectionError, failures.HTTPClientError, failures.ResponseStreamingError)


class S3:
    """A client for one account, region and endpoint; several threads may call.

    `stop`, once set, ends every call that goes on, within a tenth of a second, by StoppedError.
    """

    def __init__(self, access: S3Access, *, connections: int = 10, stop: threading.Event | None = None) -> None:
        """Raises StoreError where the configuration cannot be used; makes no call."""
        self.stop = stop or threading.Event()
        self._access = access
        self._connections = connections
        self._known = False  # the endpoint has answered
        self._configured_region: str | None = None
        self._client = self._make_client(access.region)
        # By the user, here or in the configuration; None: nobody cares.
        self.chosen_region: str | None = access.region or self._configured_region

    @property
    def region(self) -> str:
        """The region that requests go to."""
        name = str(self._client.meta.region_name or _DEFAULT_REGION)
        return _DEFAULT_REGION if name == "aws-global" else name

    @property
    def endpoint(self) -> str:
        """The address that requests go to."""
        return str(self._client.meta.endpoint_url)

    @property
    def is_amazon(self) -> bool:
        """Whether this is AWS itself, and not a store that speaks like it."""
        return _is_amazon(self.endpoint)

    def move_to(self, region: str) -> None:
        """Send what follows to another region."""
        if region != self.region:
            self._client = self._make_client(region)

    def until(self, halt: threading.Event) -> S3:
        """The same client, whose calls another event ends."""
        other = copy.copy(self)
        other.stop = halt
        return other

    def call(self, operation: str, place: object, *, tries: int = TRIES, **parameters: Any) -> Answer:
        """The answer to an operation, such as `head_object`; `place` is for messages.

        Raises:
            StoreError: refused, unreachable, or disturbed for all of `tries`.
            StoppedError: `stop` was set.
        """
        pause_s = _FIRST_PAUSE_S
        for left in range(max(1, tries) - 1, -1, -1):
            try:
                return self._once(operation, str(place), parameters)
            except StoreError as error:
                if left and error.region not in ("", self.region):
                    self.move_to(error.region)
                    continue
                used = tries - left
                if not error.retryable or not left or (not self._known and used >= _TRIES_OF_A_STRANGER):
                    raise
            if self.stop.wait(random.uniform(0.2, 1) * pause_s):  # noqa: S311 - no secret
                break
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        raise StoppedError("stopped")

    def read(self, url: ObjectUrl, most_bytes: int) -> bytes:
        """The bytes of an object, `most_bytes` at most. Raises StoreError and StoppedError."""
        answer = self.call("get_object", url, Bucket=url.bucket, Key=url.key)
        try:
            data: bytes = _interruptible(lambda: answer["Body"].read(most_bytes), self.stop)
        except failures.BotoCoreError as error:
            raise self._failure(str(url), error) from error
        return data

    def _once(self, operation: str, place: str, parameters: Answer) -> Answer:
        if self.stop.is_set():
            raise StoppedError("stopped")
        client = self._client
        body = parameters.get("Body")
        if isinstance(body, PartBody):  # an earlier try may have read some of it
            body.rewind(_SIGNING_PASSES if _signs_bodies(self.endpoint) else 0)
        try:
            answer: Answer = _interruptible(lambda: getattr(client, operation)(**parameters), self.stop)
        except failures.ClientError as error:
            self._known = True
            raise self._refusal(operation, place, error).as_error() from error
        except failures.BotoCoreError as error:
            if self.stop.is_set():
                raise StoppedError("stopped") from error
            raise self._failure(place, error) from error
        self._known = True
        return answer

    def _refusal(self, operation: str, place: str, error: failures.ClientError) -> Refusal:
        said, answer = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        return Refusal(
            operation=error.operation_name,
            place=place,
            code=str(said.get("Code", "")),
            status=int(answer.get("HTTPStatusCode") or 0),
            message=str(said.get("Message", "")),
            region=self.region,
            headers=answer.get("HTTPHeaders", {}),
        )

    def _failure(self, place: str, error: failures.BotoCoreError) -> StoreError:
        if isinstance(error, _CREDENTIALS):
            remedy = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --profile"
            return StoreError(f"{place}: there are no credentials to use ({_flat(error)})", remedy=remedy)
        if isinstance(error, failures.SSLError):
            remedy = "check the address, or name the authority that signed for it in AWS_CA_BUNDLE"
            return StoreError(f"{place}: {self.endpoint} is not who it says ({_flat(error)})", remedy=remedy)
        if isinstance(error, _CONNECTION):
            remedy = "check the network, a proxy (HTTPS_PROXY), --region and --endpoint-url"
            message = f"{place}: no answer from {self.endpoint} ({_flat(error)})"
            return StoreError(message, remedy=remedy, retryable=True)
        # What is left: an answer that is none, such as a page of a proxy; a parameter that cannot be.
        return StoreError(f"{place}: {self.endpoint} cannot be asked ({_flat(error)})", remedy="check --endpoint-url")

    def _make_client(self, region: str | None) -> Any:
        access = self._access
        try:
            session = boto3.Session(profile_name=access.profile, region_name=region)
            if region is None:
                self._configured_region = session.region_name
            named = access.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            config = _config(named or _AMAZON_URL, self._connections)
            client = session.client("s3", endpoint_url=access.endpoint_url, config=config)
            if _is_amazon(client.meta.endpoint_url) != _is_amazon(named or _AMAZON_URL):
                # The files in ~/.aws can name an endpoint, too.
                config = _config(client.meta.endpoint_url, self._connections)
                client = session.client("s3", endpoint_url=access.endpoint_url, config=config)
            client.meta.events.register_last("before-parameter-build.s3", _follow_no_redirect)
        except failures.ProfileNotFound as error:
            raise StoreError(f"{_flat(error)}", remedy="`aws configure list-profiles` shows what there is") from error
        except (failures.BotoCoreError, ValueError) as error:
            remedy = "check --endpoint-url, --region, and the files in ~/.aws"
            raise UsageError(f"S3 cannot be used so: {_flat(error)}", remedy=remedy) from error
        return client


def _is_amazon(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith(_AMAZON)


def _signs_bodies(endpoint: str) -> bool:
    """Without TLS the signature has to cover the body, lest somebody changes it on the way; but on the way to this very
    machine there is nobody."""
    url = urlsplit(endpoint)
    return url.scheme != "https" and url.hostname not in _THIS_MACHINE


def _config(endpoint: str, connections: int) -> Config:
    """For calls to an endpoint. Tries and checksums are ours: botocore's pauses cannot be ended, and its checksums
    cost another reading. Others than Amazon seldom have a name for each bucket."""
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=connections + 2,
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        tcp_keepalive=True,
        s3={
            "addressing_style": "auto" if _is_amazon(endpoint) else "path",
            "payload_signing_enabled": _signs_bodies(endpoint),
        },
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra="rdbmerge",
    )


def _follow_no_redirect(context: Answer, **_: Any) -> None:
    """Botocore asks for the region of a bucket that is elsewhere, and where it is not told, it asks without end. It
    follows once; let it think that it has. `call` follows by itself."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _flat(error: BaseException) -> str:
    """The message on one line, without the end of a sentence."""
    return " ".join(str(error).split()).rstrip(".")


def _interruptible(work: Callable[[], Result], stop: threading.Event) -> Result:
    """What `work` gives, or StoppedError as soon as `stop` is set: a socket cannot be asked to hurry.

    The thread that is left then ends by itself, at the latest with the process.
    """
    outcome: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except _OF_A_CALL as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="s3", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_EVERY_S)
        if stop.is_set() and thread.is_alive():
            raise StoppedError("stopped")
    if failed:
        raise failed[0]
    if not outcome:
        raise AssertionError("a call to S3 ended without an answer and without a failure")
    return outcome[0]
