from django.urls import path, register_converter

from studies import access
from studies.views import rater, researcher

register_converter(access.TokenConverter, "token")

app_name = "studies"
urlpatterns = [
    path("", researcher.home, name="home"),
    path("r/<token:token>/", rater.consent, name="consent"),
    path("r/<token:token>/compare/", rater.compare, name="compare"),
    path("r/<token:token>/judge/<uuid:public_id>/", rater.judge, name="judge"),
    path("r/<token:token>/undo/", rater.undo, name="undo"),
    path("r/<token:token>/end/", rater.end, name="end"),
    path("studies/<slug:slug>/", researcher.results, name="results"),
    path("studies/<slug:slug>/export.csv", researcher.export, name="export"),
    path("studies/<slug:slug>/retry/", researcher.retry, name="retry"),
]
