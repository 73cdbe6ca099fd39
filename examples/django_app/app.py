"""A Django site in one file; its hooks close and reopen what a snapshot must not contain."""

import os
import random

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

import snapext
from snapext import register_after_restore, register_before_snapshot

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "for the example only"),
)

state = {"connected": True, "token": f"{random.getrandbits(64):016x}"}


@register_before_snapshot
def close_connection():
    state["connected"] = False  # with a database: django.db.connections.close_all()


@register_after_restore
def reconnect():
    state["connected"] = True  # a Django database connection opens again by itself on its first query


@register_after_restore
def renew_token():
    state["token"] = f"{random.getrandbits(64):016x}"


def index(_request):
    return JsonResponse({"pid": os.getpid(), **state, "restored": snapext.is_restored()})


def health(_request):
    return JsonResponse({"status": "ok"})


urlpatterns = [path("", index), path("health", health)]
application = get_wsgi_application()
