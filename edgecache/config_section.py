"""What every section of the config is made of."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from edgecache.core.units import Share, parse_duration, parse_size, parse_size_or_share

Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
SizeOrShare = Annotated[int | Share, PlainValidator(parse_size_or_share), Field(ge=0)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)]
Timeout = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    # hide_input: an error that escapes as a traceback must not show what may be a secret
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
