import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sage_web.settings")

app = Celery("sage_web")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
