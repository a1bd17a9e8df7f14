"""The settings of the gateway."""

from typing import Literal

from pydantic import Field

from flts.params import Params

MIB = 1 << 20


class GatewaySettings(Params):
    """What the gateway is started with."""

    store: str = Field(..., description="where objects lie: s3:// or file:///dir")
    host: str = Field("127.0.0.1", description="address to listen on", min_length=1)
    port: int = Field(8000, description="port to listen on; 0: any that is free", ge=0, le=65535)
    tokens_file: str = Field("", description="JSON file of who may do what; see docs/gateway.md")
    auth: Literal["on", "off"] = Field("on", description="off lets everybody in, where the network keeps others out")
    buckets: str = Field("", description="comma-separated buckets that are served; empty: every one")
    max_upload_mib: int = Field(5120, description="largest object that is taken, in MiB", ge=1)
    max_requests: int = Field(64, description="requests at work at once; more are asked to come again", ge=1, le=10_000)
    deadline_seconds: float = Field(3600, description="how long a request may take in all", gt=0)
    idle_seconds: float = Field(30, description="how long a sender or reader may stand still", gt=0)

    @property
    def served(self) -> frozenset[str]:
        """The buckets that are served; none: every one."""
        return frozenset(name.strip() for name in self.buckets.split(",") if name.strip())
