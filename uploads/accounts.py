"""Signing in and out, and changing one's password: Django's own views in our look. Admins make the accounts."""

import math
from typing import Any

from axes.helpers import get_cool_off
from django.contrib.auth import views
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache


class SignIn(views.LoginView):
    """Back to the page that `next` names, if it is one of ours."""

    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def get_redirect_url(self) -> str:  # type: ignore[override]  # the stubs know a parameter that Django has not
        wanted = super().get_redirect_url()
        return "" if wanted == self.request.path else wanted  # Django would take it for a loop, and fail


@method_decorator(never_cache, name="dispatch")
class ChangePassword(views.PasswordChangeView):
    template_name = "accounts/password.html"
    success_url = reverse_lazy("password_changed")


class PasswordChanged(views.PasswordChangeDoneView):
    template_name = "accounts/password_changed.html"


def locked_out(request: HttpRequest, original_response: Any = None, credentials: Any = None) -> HttpResponse:
    """What axes answers, here and in the admin, after too many wrong passwords: 429, and how long to wait."""
    seconds = math.ceil(cool_off.total_seconds()) if (cool_off := get_cool_off(request)) else 0
    response = render(request, "accounts/locked_out.html", {"minutes": math.ceil(seconds / 60)}, status=429)
    response["Cache-Control"] = "no-store"
    if seconds:
        response["Retry-After"] = str(seconds)
    return response


urlpatterns: list[Any] = [
    path("login/", SignIn.as_view(), name="login"),
    path("logout/", views.LogoutView.as_view(), name="logout"),
    path("password/", ChangePassword.as_view(), name="password_change"),
    path("password/changed/", PasswordChanged.as_view(), name="password_changed"),
]
