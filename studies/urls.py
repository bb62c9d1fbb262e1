from django.urls import path, register_converter

from studies import access
from studies.views import researcher
from studies.views.rater import comparing, flow, judging

register_converter(access.TokenConverter, "token")

app_name = "studies"
urlpatterns = [
    path("", researcher.home, name="home"),
    path("r/<token:token>/", flow.consent, name="consent"),
    path("r/<token:token>/compare/", comparing.compare, name="compare"),
    path("r/<token:token>/judge/<uuid:public_id>/", judging.judge, name="judge"),
    path("r/<token:token>/undo/", judging.undo, name="undo"),
    path("r/<token:token>/end/", flow.end, name="end"),
    path("studies/<slug:slug>/", researcher.results, name="results"),
    path("studies/<slug:slug>/export.csv", researcher.export, name="export"),
    path("studies/<slug:slug>/retry/", researcher.retry, name="retry"),
]
