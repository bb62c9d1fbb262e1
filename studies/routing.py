from django.urls import path, re_path

from studies.access import TokenConverter
from studies.consumers import RaterProgressConsumer, StudyProgressConsumer

websocket_urlpatterns = [
    path("ws/studies/<slug:slug>/", StudyProgressConsumer.as_asgi()),
    re_path(rf"^ws/r/(?P<token>{TokenConverter.regex})/$", RaterProgressConsumer.as_asgi()),
]
