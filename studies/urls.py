from django.urls import path, register_converter

from studies import access
from studies.views import people, researcher
from studies.views.rater import comparing, flow, judging, predicting, reviewing

register_converter(access.TokenConverter, "token")

app_name = "studies"
urlpatterns = [
    path("", researcher.home, name="home"),
    path("r/<token:token>/", flow.consent, name="consent"),
    path("r/<token:token>/refuse/", flow.refuse, name="refuse"),
    path("r/<token:token>/i/<str:signed>/", flow.invited, name="invited"),
    path("r/<token:token>/instructions/", flow.instructions, name="instructions"),
    path("r/<token:token>/compare/", comparing.compare, name="compare"),
    path("r/<token:token>/judge/<uuid:public_id>/", judging.judge, name="judge"),
    path("r/<token:token>/predict/<uuid:public_id>/", predicting.predict, name="predict"),
    path("r/<token:token>/undo/", judging.undo, name="undo"),
    path("r/<token:token>/review/", reviewing.review, name="review"),
    path("r/<token:token>/review/<uuid:public_id>/", reviewing.revise, name="revise"),
    path("r/<token:token>/leave/", flow.leave, name="leave"),
    path("r/<token:token>/withdraw/", flow.withdraw, name="withdraw"),
    path("r/<token:token>/receipt/", flow.receipt, name="receipt"),
    path("r/<token:token>/end/", flow.end, name="end"),
    path("studies/<slug:slug>/", researcher.results, name="results"),
    path("studies/<slug:slug>/export.csv", researcher.export, name="export"),
    path("studies/<slug:slug>/retry/", researcher.retry, name="retry"),
    path("studies/<slug:slug>/launch/", researcher.launch_now, name="launch"),
    path("studies/<slug:slug>/raters/", people.raters, name="raters"),
    path("studies/<slug:slug>/raters.csv", people.raters_csv, name="raters_csv"),
    path("studies/<slug:slug>/links.csv", people.invites_csv, name="invites_csv"),
]
