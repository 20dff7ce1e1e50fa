"""How hard hypothesis tries: `ci` is the one profile, so that a failure here and there means the same."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    max_examples=80,
    stateful_step_count=60,
    deadline=None,  # a shared machine is slow at times, and no history is wrong for it
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
