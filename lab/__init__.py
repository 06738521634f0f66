"""An ISP to run against: BRAS fleet, OLT, routers, agents and CPE; speaks only sockets and the API."""
