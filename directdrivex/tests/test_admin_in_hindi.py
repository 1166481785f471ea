"""The admin in Hindi, those of its pages too that come from libraries."""

import re

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

pytestmark = pytest.mark.django_db


def test_the_pages_of_the_library_that_counts_wrong_passwords_speak_hindi(admin_client: Client) -> None:
    AccessAttempt.objects.create(
        attempt_time=timezone.now(), ip_address="192.0.2.7", username="x", failures_since_start=1
    )
    page = admin_client.get(reverse("admin:axes_accessattempt_changelist"), headers={"accept-language": "hi"})
    main = re.search(r'<div id="content".*', page.content.decode(), re.DOTALL)
    assert main is not None
    text = strip_tags(main[0])
    assert "कोशिश का समय" in text
    assert not re.search(r"Access|Attempt|Failed|Locked", text)
