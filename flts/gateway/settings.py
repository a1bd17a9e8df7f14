"""Settings of the gateway, from options and variables."""

from typing import Literal

from pydantic import Field

from flts.params import Params

MIB = 1 << 20


class GatewaySettings(Params):
    """Settings of the gateway."""

    store: str = Field(..., description="store of the objects: s3:// or file:///dir")
    host: str = Field("127.0.0.1", description="address to listen on", min_length=1)
    port: int = Field(8000, description="port to listen on; 0: any that is free", ge=0, le=65535)
    tokens_file: str = Field("", description="JSON file of tokens and their permissions; see docs/gateway.md")
    auth: Literal["on", "off"] = Field("on", description="off: no tokens; for networks that keep others out")
    buckets: str = Field("", description="comma-separated buckets to serve; empty: all")
    max_upload_mib: int = Field(5120, description="size of the largest object, in MiB", ge=1)
    max_requests: int = Field(64, description="requests in progress at once; others get 503", ge=1, le=10_000)
    deadline_seconds: float = Field(3600, description="maximum time for a whole request", gt=0)
    idle_seconds: float = Field(30, description="maximum time without a byte from or to a client", gt=0)

    @property
    def bucket_names(self) -> frozenset[str]:
        """The buckets to serve; empty: all."""
        return frozenset(name.strip() for name in self.buckets.split(",") if name.strip())
