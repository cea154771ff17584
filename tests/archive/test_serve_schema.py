"""The API keeps to what it says of itself, whatever is sent."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from archives import make_archive
from stap.archive.access import Access
from stap.archive.server import create_app
from stap.archive.store import Archive

pytestmark = pytest.mark.slow  # hundreds of requests

HEADERS = {"Host": "127.0.0.1"}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory, make_video_in: Any) -> Any:
    folder = make_archive(tmp_path_factory.mktemp("schema"), make_video_in)
    app = create_app(folder, Access())
    with Archive.open(folder) as archive:
        video = archive.videos()[0]
        shot = archive.shots_of(video.path)[0]

    loaded = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=HEADERS)

    @loaded.hook
    def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        """Half of the time, the id of what is there."""
        for name, there in (("shot", shot.id), ("content", video.content)):
            if path_parameters and len(str(path_parameters.get(name, ""))) % 2:
                path_parameters[name] = there
        return path_parameters

    return loaded


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_the_api_does_what_it_says(schema: Any, mode: Any) -> None:
    """What fits the schema gets an answer that fits it too; what does not is refused, as the schema says."""
    names = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        names.add(f"{operation.method} {operation.path}")
        if mode is schemathesis.GenerationMode.NEGATIVE and operation.path.startswith("/api/corrections"):
            continue  # they take nothing that could be wrong

        @seed(16)
        @settings(
            max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(headers=HEADERS)

        check()
    assert len(names) == 9
