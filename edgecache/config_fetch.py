"""The section `fetch`: how the origin is read, and what is done when it fails."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from edgecache.config_section import Duration, Section, Size, Timeout

Part = Annotated[float, Field(ge=0, le=1)]


class Fetch(Section):
    connect_timeout: Timeout = 5.0
    first_byte_timeout: Timeout = 110.0
    stall_timeout: Timeout = 30.0
    total_timeout: Timeout = 600.0
    queue_timeout: Timeout = 10.0
    connections: int = Field(default=64, ge=1)
    retries: int = Field(default=3, ge=0, le=10)
    retry_delay: Timeout = 0.2
    retry_share: Part = 0.2
    breaker_failures: int = Field(default=10, ge=1)
    breaker_pause: Timeout = 5.0
    hedge_share: Part = 0.0
    settle: Duration = 10.0
    first_run: Size = Field(default=2**20, gt=0)
    image_run: Size = Field(default=4 * 2**20, gt=0)
    max_run: Size = Field(default=16 * 2**20, gt=0, validate_default=True)
    readahead: Size = 32 * 2**20
    readahead_connections: int = Field(default=4, ge=1, le=64)
    waste: Part = 0.1

    @field_validator("max_run")
    @classmethod
    def _is_the_most(cls, max_run: int, info: ValidationInfo) -> int:
        if max_run < max(info.data.get("first_run", 0), info.data.get("image_run", 0)):
            raise ValueError("less than fetch.first_run or fetch.image_run")
        return max_run
