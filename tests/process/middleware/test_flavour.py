"""The wrong middleware says which one is right, before a request comes."""

import functools

import django.conf
import django.core.handlers.base
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from fastapi import FastAPI
from flask import Flask

from snapext.asgi import SnapStartMiddleware as Asgi
from snapext.middleware import guard
from snapext.wsgi import SnapStartMiddleware as Wsgi

flask = Flask("an app")


@pytest.fixture(autouse=True)
def not_linked(monkeypatch):
    """The test's own process looks for no extension."""
    monkeypatch.setattr(guard, "_guard", guard.Guard({}))


async def asgi(scope, receive, send):
    pass


def wsgi(environ, start_response, options=None, /, *, more=None):
    pass


@pytest.mark.parametrize("app", [flask, flask.wsgi_app], ids=repr)
def test_a_wsgi_app_in_the_middleware_for_asgi_is_refused(app):
    """Flask's own and its `wsgi_app`; the line names what was given, and the other module."""
    with pytest.raises(TypeError, match=r"^snapext\.asgi\.SnapStart.* takes 2: use snapext\.wsgi\.Snap") as caught:
        Asgi(app)
    assert repr(app) in str(caught.value)
    Wsgi(app)


def test_an_asgi_app_in_the_middleware_for_wsgi_is_refused():
    """Also when FastAPI makes it, with the first thing that it is asked."""
    for app in (FastAPI(), asgi):
        with pytest.raises(TypeError, match=r"^snapext\.wsgi\.SnapStart.* takes 3: use snapext\.asgi\.Snap"):
            Wsgi(app)
        Asgi(app)
    app = FastAPI()
    app.add_middleware(Wsgi)
    with pytest.raises(TypeError, match=r"use snapext\.asgi\.Snap"):
        app.build_middleware_stack()


@pytest.mark.parametrize("middleware", [Asgi, Wsgi])
def test_either_in_djangos_list_is_refused(middleware, monkeypatch):
    """Under WSGI, while Django loads its middlewares. Around Django's application each is right."""
    path = f"{middleware.__module__}.SnapStartMiddleware"
    settings = django.conf.UserSettingsHolder(django.conf.global_settings)
    settings.MIDDLEWARE = [path]
    monkeypatch.setattr(django.core.handlers.base, "settings", settings)
    handler = WSGIHandler.__new__(WSGIHandler)
    with pytest.raises(TypeError, match=r"takes 1: use snapext\.django\.Snap"):
        handler.load_middleware()
    Wsgi(handler)
    Asgi(ASGIHandler.__new__(ASGIHandler))


class Static:
    """Python gives its call no `self`."""

    @staticmethod
    async def __call__(scope, receive, send):
        pass


class AnswerOfItsOwn:
    """A class may be a WSGI app (PEP 3333): an instance is the answer."""

    def __init__(self, environ, start_response):
        pass

    def __call__(self):
        pass


class Proxy:
    """What it stands for cannot be seen yet."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    __call__ = property(lambda self: self.of_nothing)


def takes_anything(*_):
    pass


def test_what_may_be_right_is_not_refused():
    """Nor what can be called as none of them: its own error says more."""
    Asgi(Static())
    for app in (wsgi, AnswerOfItsOwn, Proxy(), functools.partial(wsgi), takes_anything, int.from_bytes, setattr):
        for middleware in (Asgi, Wsgi):
            assert middleware(app).app is app
