"""Random lives run beside all other tests: how long one takes on a busy machine says nothing about it."""

from hypothesis import HealthCheck, settings

settings.register_profile("beside others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside others")
