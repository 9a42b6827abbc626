"""Who may open a page: the code in its address, and the names that the address may have. Knows no browser."""

import errno
import ipaddress
import secrets
import socket
import sys
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

# A page and its websocket are both `http://NAME:PORT/CODE/`. The code stands in the path and in no cookie: browsers
# send a cookie of one port to all ports of a machine, and so to the servers of its other users.
CODE_BYTES = 24
HOME = '127.0.0.1'
_HOME_NAMES = ('localhost', HOME, '::1')
# So many ports after the one that was asked for are tried.
_PORTS = 1000


class RefusedError(Exception):
    """A request that may not have the page; its text is for whoever asked."""


class Border:
    """Decides which requests reach a page.

    Args:
        host: what the user wrote: a name or an address of this machine, `0.0.0.0` or `::` for all of these.
        address: the address that it stands for.
        port: where the page is.

    Attributes:
        code: 192 random bits, in letters, figures, `-` and `_`.
    """

    def __init__(self, host: str, address: str, port: int) -> None:
        self.host, self.address, self.port = host, address, port
        self.code = secrets.token_urlsafe(CODE_BYTES)
        self.everybody = ipaddress.ip_address(address.partition('%')[0]).is_unspecified
        names = (socket.gethostname(), socket.getfqdn()) if self.everybody else (host, address)
        self._names = {name.lower().rstrip('.') for name in (*_HOME_NAMES, *names)}

    @property
    def here(self) -> str:
        """The address in figures by which this machine reaches the page."""
        if not self.everybody:
            return self.address
        return HOME if '.' in self.address else '::1'

    def url(self, name: str) -> str:
        """Return the page's address with one of the names or addresses of this machine."""
        return f'http://{_in_url(name)}:{self.port}/{self.code}/'

    def admit(self, path: str, hosts: Sequence[str], origins: Sequence[str]) -> str:
        """Check a request, and give the path that it asks for behind the code.

        Args:
            path: of the request, with what follows a `?`.
            hosts: its `Host` headers.
            origins: its `Origin` headers. Browsers send one with every websocket, and with pages only where another
                site asks for them; other programs send none.

        Raises:
            RefusedError: no code or a wrong one, or a name or an origin that is not the page's.
        """
        _name, port = self._known(hosts)
        if len(origins) > 1 or any(not self._own(origin, port) for origin in origins):
            raise RefusedError('This page is not for other sites.')
        code, _, rest = path.removeprefix('/').partition('?')[0].partition('/')
        if not secrets.compare_digest(code.encode('utf-8', 'replace'), self.code.encode()):
            raise RefusedError(
                'This page needs its whole address with the code, as the command printed it in the terminal. The '
                'code is another one each time that the command starts.'
            )
        return f'/{rest}'

    def _known(self, hosts: Sequence[str]) -> tuple[str, int]:
        """Return the name and port that a browser was sent to; another site's name may lead here too."""
        name, port = _host_and_port(hosts[0]) if len(hosts) == 1 else ('', 0)
        # The port may be another one: the near end of a tunnel.
        if not self._is_ours(name):
            raise RefusedError(
                'This page is not known by this name. Open the address that the command printed, or start the '
                'command with --host and the name.'
            )
        return name, port

    def _is_ours(self, name: str) -> bool:
        # An address in figures is nobody's name: no site can have it lead elsewhere later.
        return name in self._names or (self.everybody and _is_address(name))

    def _own(self, origin: str, port: int) -> bool:
        scheme, separator, host = origin.partition('://')
        name, origin_port = _host_and_port(host)
        return scheme == 'http' and bool(separator) and self._is_ours(name) and origin_port == port


def _host_and_port(host: str) -> tuple[str, int]:
    """Take `name:port` apart; ('', 0) where it is none."""
    try:
        parts = urlsplit(f'//{host}')
        if parts.netloc != host or '@' in host or not parts.hostname:
            return '', 0
        return parts.hostname.lower().rstrip('.'), 80 if parts.port is None else parts.port
    except ValueError:
        return '', 0


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _in_url(name: str) -> str:
    return f'[{name}]' if ':' in name else name


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address of this machine.

    A name that stands for several addresses is listened at by the first one of IPv4: where `localhost` is also `::1`,
    the page is at 127.0.0.1, and says so, for another user may listen at the other one.

    Args:
        host: a name or an address.
        port: where; the next free one if it is taken. 0 takes any.

    Raises:
        ValueError: this machine has no such address.
        PermissionError: the port is not for this user.
        OSError: no port is free.
    """
    try:
        # Python takes an empty host for all addresses.
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM) if host else []
    except (OSError, ValueError) as error:
        raise _no_address(host, error) from error
    rows.sort(key=lambda row: row[0] != socket.AF_INET)
    if not rows:
        raise _no_address(host, None)
    family, kind, protocol, _, place = rows[0]
    ports = range(port, min(port + _PORTS, 65536)) if port else (0,)
    for number in ports:
        listener = socket.socket(family, kind, protocol)
        try:
            _make_own(listener, str(place[0]))
            listener.bind((place[0], number, *place[2:]))
            listener.listen(100)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                continue
            if error.errno == errno.EACCES:
                raise PermissionError(
                    f'port: {number} must be one that this user may listen at; it is not. Give another one, such as '
                    '8080.'
                ) from error
            raise _no_address(host, error) from error
        return listener
    raise OSError(f'port: one of {ports[0]} to {ports[-1]} must be free; none is. Give another one.')


def _make_own(listener: socket.socket, address: str) -> None:
    if sys.platform == 'win32':
        # There SO_REUSEADDR would let another program listen at the same port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        # A port that the last page left a moment ago is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != '::'))


def _no_address(host: str, error: Exception | None) -> ValueError:
    why = '' if error is None else f' ({getattr(error, "strerror", None) or error})'
    return ValueError(
        f'host: it must be a name or an address of this machine; got {host!r}{why}. Give localhost, or 0.0.0.0 to '
        'let others in.'
    )


def addresses_in_network(port: int) -> list[str]:
    """Find addresses of this machine, in figures, at which others reach a port that listens at all of them."""
    result: list[str] = []
    for address in _own_addresses():
        is_home = ipaddress.ip_address(address.partition('%')[0]).is_loopback
        if address not in result and not is_home and _answers(address, port):
            result.append(address)
    return result


def _own_addresses() -> Iterable[str]:
    # The address that this machine would send from; a UDP socket that is connected sends nothing. The far ends are
    # addresses that are kept for examples.
    for family, far in ((socket.AF_INET, '192.0.2.1'), (socket.AF_INET6, '2001:db8::1')):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((far, 9))
                yield asking.getsockname()[0]
        except OSError:
            # No network of this family.
            continue
    try:
        rows = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        # A machine that does not know its own name.
        return
    for row in rows:
        yield str(row[4][0])


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2.0):
            return True
    except OSError:
        return False
