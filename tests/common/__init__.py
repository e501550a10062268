# SPDX-License-Identifier: Apache-2.0
"""What the tests, bindshare-bench and quickstart share. `common` in their libraries is a link to it."""
