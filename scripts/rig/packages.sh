# packages PROGRAM PACKAGE…: installs Debian's packages whose programs are
# missing, as root; otherwise it says what is. For the scripts that source this.
packages() {
  local missing=''
  while [ $# -gt 0 ]; do
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null || missing+=" $2"
    shift 2
  done
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] || { echo "$(basename "$0"): to be installed:$missing" >&2; exit 1; }
  echo "$(basename "$0"): installing$missing" >&2
  (
    # No service of theirs starts: the checks start their own.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
      chmod +x /usr/sbin/policy-rc.d
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  )
}
