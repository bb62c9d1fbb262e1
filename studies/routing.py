from django.urls import path

from studies.consumers import RaterProgressConsumer, StudyProgressConsumer

websocket_urlpatterns = [
    path("ws/studies/<slug:slug>/", StudyProgressConsumer.as_asgi()),
    path("ws/r/<str:token>/", RaterProgressConsumer.as_asgi()),
]
