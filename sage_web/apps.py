from django.apps import AppConfig


class SageWebConfig(AppConfig):
    """The project itself is an app so that it can own `serve` and `setup_demo`."""

    name = "sage_web"
