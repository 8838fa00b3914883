"""The tap in a listener as its image starts it: its own Python, packages and CMD."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.listener_image import CALLBACK, NEWEST, STREAM_9, ListenerImage
from tests.support.tapped_listener import TappedListener
from tests.tap.conftest import expected_reports, reports, reports_url


@pytest.fixture
def image(request: pytest.FixtureRequest, tmp_path: Path) -> ListenerImage:
    return ListenerImage(tmp_path / "image", *getattr(request, "param", STREAM_9))


@pytest.fixture
def listener(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, image: ListenerImage
) -> Iterator[TappedListener]:
    listener = TappedListener(tmp_path, rabbitmq, redis, CALLBACK, image)
    yield listener
    listener.close()


@pytest.mark.parametrize(
    ("image", "add"),
    [(STREAM_9, ListenerImage.pip_install_tap), (NEWEST, ListenerImage.copy_tap)],
    ids=["oldest", "newest"],
    indirect=["image"],
)
def test_with_the_tap_named_in_its_arguments_the_image_reports(
    tmp_path: Path,
    busmon: Busmon,
    listener: TappedListener,
    image: ListenerImage,
    add: Callable[[ListenerImage], None],
) -> None:
    busmon.start()
    add(image)
    listener.configure_tap(reports_url(busmon))
    listener.argv = image.command("busmon_tap:Tap")
    listener.start()
    ids = listener.publish("pass", "drop")
    wait_until(lambda: len(reports(tmp_path)) == 2, what="the reports")
    assert reports(tmp_path) == expected_reports(ids, ["pass", "drop"])
    assert listener.terminate() == 0


def test_with_the_tap_named_only_in_the_file_the_image_reports_nothing(
    tmp_path: Path, busmon: Busmon, listener: TappedListener, image: ListenerImage
) -> None:
    """The callback in the image's CMD goes before the one in the file."""
    busmon.start()
    image.copy_tap()
    text = listener.toml.read_text()
    assert f'callback = "{CALLBACK}"' in text
    listener.toml.write_text(text.replace(f'"{CALLBACK}"', '"busmon_tap:Tap"'))
    listener.configure_tap(reports_url(busmon))
    with listener:
        ids = listener.publish("pass", "drop")
        wait_until(lambda: len(listener.called()) == 2, what="both calls")
        assert listener.terminate() == 0  # a tap would now send what it has
    assert listener.called() == ids
    assert reports(tmp_path) == {}


def test_with_another_pythonpath_the_image_does_not_find_the_callback(
    listener: TappedListener, image: ListenerImage, tmp_path: Path
) -> None:
    image.copy_tap()
    listener.configure_tap("http://127.0.0.1:9/v1/reports")
    listener.argv = ["env", f"PYTHONPATH={tmp_path}", *image.command()]
    assert listener.run() == 1
    assert listener.logged("No module named 'packit_service_fedmsg'")
