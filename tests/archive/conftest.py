from tests.support.datagrepper import datagrepper  # noqa: F401 - a fixture
