from django.contrib import admin
from django.urls import include, path

from sage_web.health import healthz

urlpatterns = [
    path("healthz", healthz),
    path("admin/", admin.site.urls),
    path("", include("studies.urls")),
]
