"""What the agreement lets a connector call, checked where nothing can go around it: at the transport."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote

import httpx

from cdp.connectors.base import Egress
from cdp.errors import DeliveryError


def check_url(url: httpx.URL, egress: Egress, who: str) -> None:
    """Refuse a URL that the agreement does not name.

    Hosts are compared exactly, with the port when it is not 443; paths as prefixes of whole segments. Loopback is
    never an agreement's host: it is allowed in an environment marked `sandbox: true` and nowhere else.

    Args:
        url: where a request would go.
        egress: what the agreement allows.
        who: names the destination in the error.

    Raises:
        DeliveryError: says the host or path and what is allowed.
    """
    if url.userinfo:
        raise DeliveryError(f"{who}: a URL must not hold a user name or password", fix="put the credential in `secrets` and a header")
    host = url.host if url.port in (None, 443) else f"{url.host}:{url.port}"
    if is_loopback(url.host):
        if not egress.plaintext_loopback or url.scheme not in ("http", "https"):
            raise DeliveryError(
                f"{who}: host {host} is loopback, which is refused here",
                fix="use an environment marked `sandbox: true`, or the agreement's host as base_url",
            )
        return
    allowed = ", ".join(sorted(egress.hosts)) or "none"
    if host not in egress.hosts:
        raise DeliveryError(
            f"{who}: host {host or '(none)'} is refused; the agreement allows: {allowed}", fix="mend base_url or the agreement's hosts"
        )
    if url.scheme != "https":
        raise DeliveryError(f"{who}: {url.scheme or 'no scheme'} to {host} is refused; only https is", fix="write https:// in base_url")
    _check_path(url, egress, who)


def _check_path(url: httpx.URL, egress: Egress, who: str) -> None:
    path = url.raw_path.split(b"?", 1)[0].decode("ascii")
    plain = _decoded(path)
    parts = (part.partition(";")[0] for part in plain.replace("\\", "/").split("/"))  # `..;x` is `..` with a parameter: RFC 3986, 3.3
    if any(part in (".", "..") for part in parts) or plain.count("/") != path.count("/"):
        raise DeliveryError(f"{who}: path {path} is refused: it holds dots or escaped slashes", fix="write the plain path")
    if egress.paths and not any(_is_under(plain, prefix) for prefix in egress.paths):
        allowed = ", ".join(egress.paths)
        raise DeliveryError(f"{who}: path {path} is refused; the agreement allows: {allowed}", fix="mend `path` or the agreement's paths")


def _decoded(path: str) -> str:
    """The path with every layer of percent-encoding taken off, as the most lenient server would read it."""
    while (plain := unquote(path)) != path:
        path = plain
    return path


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


# A redirect that says to send the same request elsewhere (RFC 9110, 15.4.8 and 15.4.9). What any other one is about may have been done:
# 303 leads to what came of a request, and 301 and 302 are sent in its place.
_NOT_DONE = (307, 308)


class GuardedTransport(httpx.AsyncBaseTransport):
    """The one way to the network: every request is checked before it leaves, every redirect is an error."""

    def __init__(self, inner: httpx.AsyncBaseTransport, egress: Egress, who: str) -> None:
        self._inner = inner
        self._egress = egress
        self._who = who

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request that the agreement allows.

        Raises:
            DeliveryError: the URL is refused, or the channel redirects.
        """
        check_url(request.url, self._egress, self._who)
        if request.headers.get("host") != request.url.netloc.decode("ascii"):
            raise DeliveryError(f"{self._who}: a Host header other than the URL's host is refused", fix="remove the header")
        response = await self._inner.handle_async_request(request)
        if 300 <= response.status_code < 400:
            await response.aclose()
            raise DeliveryError(
                f"{self._who}: {request.url.host} answered {response.status_code}; redirects are refused",
                fix="set base_url and path to where the channel really answers",
                doubt=None if response.status_code in _NOT_DONE else f"http_{response.status_code}",
            )
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
