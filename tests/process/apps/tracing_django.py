"""The tracing app on Django, in one file: `tracing_django:application`."""

import tracing
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import re_path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="only a test")


def answer(request):
    return JsonResponse(tracing.answer(request.path))


urlpatterns = [re_path("", answer)]
application = get_wsgi_application()
