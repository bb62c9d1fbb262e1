"""One settings file for every way to run. What differs is decided by what is present in the environment:

DATABASE_URL empty -> SQLite in VAR_DIR; REDIS_URL empty -> in-memory broker and channel layer (one process).
Every variable is listed in `.env.example`.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from environs import Env

from inference.core.endpoint import Endpoint

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(BASE_DIR / ".env")

VAR_DIR: Path = env.path("VAR_DIR", BASE_DIR / "var").absolute()
VAR_DIR.mkdir(parents=True, exist_ok=True)


def local_secret_key() -> str:
    """The key of this installation, made on first use in a file that only its owner can read."""
    path = VAR_DIR / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


DEBUG: bool = env.bool("DEBUG", False)
SECRET_KEY: str = env.str("SECRET_KEY", "") or local_secret_key()
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    "sage_web",
    "training",
    "studies",
    "inference",
    "channels",
    "axes",
    "csp",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "sage_web.urls"
ASGI_APPLICATION = "sage_web.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# -- Database -----------------------------------------------------------------------------------------------------

DATABASE_URL: str = env.str("DATABASE_URL", "")


def database() -> dict[str, Any]:
    if not DATABASE_URL:
        pragmas = "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA mmap_size=134217728;"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": VAR_DIR / "sage.sqlite3",
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": pragmas},
            # A file: SQLite's shared in-memory database gives threads "table is locked" that no timeout covers.
            "TEST": {"NAME": VAR_DIR / "test.sqlite3"},
        }
    config: dict[str, Any] = env.dj_db_url("DATABASE_URL")
    if "postgresql" in config["ENGINE"]:
        config["OPTIONS"] = {
            **config.get("OPTIONS", {}),
            "pool": {"min_size": 1, "max_size": 10, "timeout": 10},
        }
        config |= {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True}
    return config


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- Queue and live updates ---------------------------------------------------------------------------------------

REDIS_URL: str = env.str("REDIS_URL", "")
EMBEDDED = not REDIS_URL
WEB_PROCESSES: int = env.int("WEB_PROCESSES", 0)  # with Redis, over which they talk; 0: one for each core, at most 4

CELERY_BROKER_URL = REDIS_URL or "memory://localhost/"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {"polling_interval": 0.05}
    if EMBEDDED
    else {
        "visibility_timeout": 6 * 3600,  # longer than the longest task; a dead worker is found by its lease
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }
)
CELERY_TASK_IGNORE_RESULT = True  # results are rows
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_TASK_ROUTES = {"inference.*": {"queue": "inference"}, "training.*": {"queue": "inference"}}

CHANNEL_LAYERS: dict[str, Any] = {
    "default": (
        {"BACKEND": "sage_web.layers.ThreadSafeInMemoryLayer"}
        if EMBEDDED
        else {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}]},
        }
    )
}

# -- The model ----------------------------------------------------------------------------------------------------

SAGE_MODEL: str = env.str("SAGE_MODEL", "smollm2-135m-instruct")
SAGE_DEVICE: str = env.str("SAGE_DEVICE", "cpu")
SAGE_DTYPE: str = env.str("SAGE_DTYPE", "float32")
# What tells resamples apart: all-minilm-l6-v2, "own states", words, a folder or a hub name.
SAGE_SIMILARITY: str = env.str("SAGE_SIMILARITY", "all-minilm-l6-v2")
SAGE_KEEP_HEAD_FLOW: bool = env.bool("SAGE_KEEP_HEAD_FLOW", False)  # so that a head can learn to mix them
SAGE_THREADS: int = env.int("SAGE_THREADS", 0)  # 0: all cores but one in `serve`, all cores in a worker

# A server with OpenAI's chat protocol, for method api. Here and not in rows: nobody who may edit explainers can have
# a worker call another address. `Endpoint` has the defaults, and checks them when they are used.
SAGE_API_URL: str = env.str("SAGE_API_URL", "")
SAGE_API_KEY: str = env.str("SAGE_API_KEY", "")
SAGE_API_SENDS: list[str] = env.list("SAGE_API_SENDS", list(Endpoint.sends))
SAGE_API_TIMEOUT: float = env.float("SAGE_API_TIMEOUT", Endpoint.timeout)
SAGE_API_RETRIES: int = env.int("SAGE_API_RETRIES", Endpoint.retries)
SAGE_API_BUDGET: int = env.int("SAGE_API_BUDGET", Endpoint.budget)

# -- Rating -------------------------------------------------------------------------------------------------------

RESERVATION_SECONDS: int = env.int("RESERVATION_SECONDS", 1800)  # then an unanswered comparison goes to others

# -- Web ----------------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 1  # hour
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
HTTPS: bool = env.bool("HTTPS", False)  # set where a TLS proxy stands in front
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000  # bytes; a reason that is far too long still comes back with its page

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "WARNING")},
    "loggers": {name: {"level": "INFO"} for name in ("sage_web", "inference", "studies", "training")},
}
