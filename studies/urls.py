from django.urls import path

from studies.views import rater, researcher

app_name = "studies"
urlpatterns = [
    path("", researcher.home, name="home"),
    path("r/<str:token>/", rater.consent, name="consent"),
    path("r/<str:token>/compare/", rater.compare, name="compare"),
    path("r/<str:token>/judge/<uuid:public_id>/", rater.judge, name="judge"),
    path("r/<str:token>/undo/", rater.undo, name="undo"),
    path("r/<str:token>/end/", rater.end, name="end"),
    path("studies/<slug:slug>/", researcher.results, name="results"),
    path("studies/<slug:slug>/export.csv", researcher.export, name="export"),
    path("studies/<slug:slug>/retry/", researcher.retry, name="retry"),
]
