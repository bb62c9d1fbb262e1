"""The Compose file, the images and the example environment fit the code that they deploy."""

import re

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

COMPOSE_TEXT = (settings.BASE_DIR / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
DOCKERFILE = (settings.BASE_DIR / "Dockerfile").read_text()
SETTINGS = (settings.BASE_DIR / "sage_web" / "settings.py").read_text()
SERVED_ON = {"HOST", "PORT"}  # read by `manage.py serve`


def settings_variables():
    return set(re.findall(r'\benv\.\w+\(\s*"(\w+)"', SETTINGS))


def compose_variables():
    return set(re.findall(r"\$\{(\w+)", COMPOSE_TEXT))


def test_the_example_names_every_variable_that_is_read_and_no_other():
    example = (settings.BASE_DIR / ".env.example").read_text()
    named = re.findall(r"^#?([A-Z_]+)=", example, flags=re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) == settings_variables() | SERVED_ON | compose_variables()


def test_compose_sets_only_variables_that_are_read():
    for service in ("migrate", "web", "worker-cpu", "worker-gpu"):
        assert set(SERVICES[service]["environment"]) <= settings_variables()


def test_compose_runs_commands_that_exist():
    commands = [service["command"] for service in SERVICES.values() if "python" in service.get("command", [])]
    assert len(commands) == 4
    assert all(command[1] == "manage.py" and command[2] in get_commands() for command in commands)


def test_the_deployment_page_names_commands_and_services_that_exist():
    page = (settings.BASE_DIR / "docs" / "deploy.md").read_text()
    commands = set(re.findall(r"manage\.py (\w+)", page))
    named = set(re.findall(r"docker compose (?:exec|run|logs|stop)(?: -\S+| \"\S+)* ([\w-]+)", page))
    assert "import_problems" in commands
    assert commands <= set(get_commands())
    assert "worker-cpu" in named
    assert named <= set(SERVICES)


def test_compose_and_the_images_start_the_same_commands():
    defaults = re.findall(r'^CMD \["python", "manage.py", "(\w+)"\]', DOCKERFILE, flags=re.MULTILINE)
    assert defaults == [SERVICES["web"]["command"][2], SERVICES["worker-cpu"]["command"][2]]


def test_compose_builds_stages_that_exist():
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE))
    targets = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert targets == {"web", "worker"}
    assert targets <= stages


def test_only_the_worker_image_has_pytorch():
    web = DOCKERFILE.split("AS web-packages")[1].split("\nFROM ")[0]
    assert "pip install" in web
    assert "worker" not in web
    assert "COPY --from=web-packages" in DOCKERFILE.split("AS web\n")[1].split("\nFROM ")[0]


@pytest.mark.parametrize("secret", ["SECRET_KEY", "POSTGRES_PASSWORD"])
def test_compose_has_no_secret_of_its_own_and_does_not_start_without_one(secret):
    uses = re.findall(rf"\$\{{{secret}(.)(.)", COMPOSE_TEXT)
    assert uses
    assert set(uses) == {(":", "?")}


def test_every_image_from_outside_has_an_exact_version():
    stages = set(re.findall(r" AS (\S+)$", DOCKERFILE, flags=re.MULTILINE))
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)) - stages
    images = bases | {service["image"] for service in SERVICES.values() if "build" not in service}
    assert len(images) == 3
    assert all(re.search(r":\d+\.\d+", image) for image in images)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_runs_with_the_least_rights(service):
    found = SERVICES[service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]


def test_images_do_not_run_as_root():
    for stage in ("AS web\n", "AS worker\n"):
        assert re.search(r"^USER [1-9]\d*$", DOCKERFILE.split(stage)[1].split("\nFROM ")[0], flags=re.MULTILINE)


def test_workers_share_the_folder_of_models_and_heads():
    for service in ("worker-cpu", "worker-gpu"):
        assert SERVICES[service]["volumes"] == ["var:/app/var"]
    assert "VAR_DIR=/app/var" in DOCKERFILE


def test_neither_secrets_nor_data_get_into_an_image():
    ignored = (settings.BASE_DIR / ".dockerignore").read_text().splitlines()
    assert {".env", "var", ".git", ".venv"} <= set(ignored)
