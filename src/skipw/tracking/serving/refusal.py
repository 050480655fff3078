"""How a request is refused: always a status and MLflow's shape of an error, ``{error_code, message}``."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

__all__ = ["Refusal", "refusal_response"]

#: MLflow's names where it has one for the status.
CODES = {
    400: "INVALID_PARAMETER_VALUE", 404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 408: "DEADLINE_EXCEEDED",
    413: "REQUEST_TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE", 500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
LONGEST_MESSAGE = 1000


class Refusal(Exception):
    """A request that is not served.

    Args:
        status: of HTTP.
        message: what was expected, what came, the remedy.
        error_code: MLflow's name of the kind of error; by default the status' own.
        headers: beside the usual ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        error_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.error_code, self.headers = error_code, headers

    def response(self) -> JSONResponse:
        return refusal_response(self.status, self.message, self.error_code, self.headers)


def refusal_response(
    status: int, message: str, error_code: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer; a message that quotes too much is cut."""
    if len(message) > LONGEST_MESSAGE:
        message = message[:LONGEST_MESSAGE] + " ..."
    code = error_code or CODES.get(status, "BAD_REQUEST")
    return _AsciiResponse({"error_code": code, "message": message}, status, headers)


class _AsciiResponse(JSONResponse):
    """A message may quote half a surrogate pair, which UTF-8 has no bytes for."""

    def render(self, content: object) -> bytes:
        import json

        return json.dumps(content).encode("ascii")
