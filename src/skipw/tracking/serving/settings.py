"""What ``skipw serve`` was told, as it travels to its worker processes."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
from dataclasses import dataclass

from skipw.errors import ParamsError

__all__ = ["ServeSettings"]

VARIABLE = "SKIPW_SERVE"
LEAST = {"workers": 1, "max_body": 1024, "max_sequences": 1, "max_inputs": 1, "queue": 1}


@dataclass(frozen=True)
class ServeSettings:
    """How one model is served.

    Attributes:
        uri: models:/..., runs:/..., or a folder.
        budget: of requests that name none; None means the model's own.
        threshold: of requests that name none; None means the model's own.
        host: an address of this machine.
        port: 0 takes a free one.
        workers: processes; each holds the model and works on one request at a time.
        max_body: bytes of a request's body.
        max_sequences: sequences in a request.
        max_inputs: inputs in a request, over all its sequences.
        queue: requests that a worker lets wait for the model.
        body_timeout_s: time for a request's head, and again for its body, to arrive.
        access_log: one JSON object a request on standard output.

    Raises:
        ParamsError: a number is out of range.
    """

    uri: str
    budget: int | None = None
    threshold: float | None = None
    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    max_body: int = 16 * 2**20
    max_sequences: int = 4096
    max_inputs: int = 2**18
    queue: int = 64
    body_timeout_s: float = 20.0
    access_log: bool = False

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ParamsError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if not 0 <= self.port < 2**16:
            raise ParamsError(f"port must lie in [0, 65535], got {self.port}; 0 takes a free one.")
        if not 0 < self.body_timeout_s < float("inf"):
            raise ParamsError(f"body_timeout_s must be a positive time, got {self.body_timeout_s}.")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def to_environment(self) -> None:
        """For the worker processes that are started from this one."""
        os.environ[VARIABLE] = json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_environment(cls) -> ServeSettings:
        return cls(**json.loads(os.environ[VARIABLE]))
