"""The room put together: memory, machines, sockets and services, in the order in which they start."""

from __future__ import annotations

import asyncio
import gc

import structlog
from prometheus_client import CollectorRegistry

from controller.domain.clock import Clock
from controller.domain.ports import CreditControl
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius.accepts import SharedAccepts
from radius.access import AccessService
from radius.authorization.admission import Admission
from radius.authorization.credit import Credit
from radius.authorization.directory import Directory
from radius.authorization.eap.certificates import Certificates
from radius.authorization.eap.methods import methods, unserved
from radius.authorization.eap.metrics import EapCollector
from radius.authorization.plan import Defaults
from radius.authorization.policy import Policy
from radius.coa import CoaClient
from radius.counters import Counters, RadiusCollector
from radius.crediting import Crediting
from radius.dynamic.port import DynamicPort
from radius.dynamic.queue import WithoutCredit
from radius.dynamic.reach import ToldLimit
from radius.dynamic.relay import Relay
from radius.dynamic.visited import VisitedSessions
from radius.follower import Follower, Registry
from radius.lines import LineService
from radius.listener import Listener
from radius.nas_registry import NasService
from radius.passwords import PasswordService
from radius.pools.allocator import Allocator
from radius.pools.grants import PoolGrants
from radius.pools.keeper import LeaseKeeper, PoolCollector
from radius.pools.service import PoolService
from radius.ports import Recorder, Sessions
from radius.protocol.duplicates import Duplicates, InFlight
from radius.protocol.server import AccountingServer, AuthenticationServer
from radius.quota.counter import QuotaCounter
from radius.quota.evaluation import Evaluation
from radius.quota.service import QuotaService
from radius.realms import RealmService
from radius.reporting import Reporting
from radius.restricting import Restricting
from radius.session_speed import SessionSpeed
from radius.sessions import SessionController
from radius.settings import RadiusSettings
from radius.subscribers import SubscriberService
from radius.trace import Traces
from radius.transports import Transports

log = structlog.get_logger()


class RadiusRoom:
    """`await start()` loads the directory and opens the ports, `run()` follows other processes, `close()` ends it.

    `nas` and `subscribers` are the services, `sessions` is the SessionControl, `counters` what the ports did.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        box: SecretBox,
        settings: RadiusSettings,
        *,
        recorder: Recorder,
        sessions: Sessions,
    ) -> None:
        self.settings = settings
        self.registry = Registry()
        defaults = Defaults(settings.session_timeout_s, settings.idle_timeout_s, settings.garden)
        self.directory = Directory(defaults)
        self.counters = Counters()
        self.follower = Follower(
            database, box, self.registry, self.directory, clock=clock, refresh_s=settings.refresh_s
        )
        self._keep_registries(database, clock, box)
        self.coa = CoaClient(settings, clock)
        self.sessions = SessionController(
            database,
            clock,
            self.follower.nas,
            sessions,
            self.coa,
            session_timeout_s=settings.session_timeout_s,
            garden=settings.garden,
            is_suspended=self.subscribers.is_suspended,
            is_throttled=self.subscribers.is_throttled,
            process=settings.process,
            zone=settings.entity_zone,
        )
        self.access = AccessService(database, clock, self.follower, self.sessions, defaults)
        self.speeds = SessionSpeed(database, clock, self.sessions)
        self._follow_limits(database, clock)
        policy = self._policy(database, clock, sessions)
        self.visited = VisitedSessions(database, clock, recorder)
        self.transports = Transports(
            database,
            clock,
            box,
            settings,
            decide=policy.decide,
            recorder=Reporting(self.follower.members, self.visited),
            registry=self.registry,
            counters=self.counters,
        )
        self._pass_changes_on(database, clock)
        nas = self.registry.by_address
        self.listener = Listener(
            settings,
            clock,
            AuthenticationServer(nas, self.transports.decide, _duplicates(settings)),
            AccountingServer(nas, InFlight(lifetime_s=settings.duplicate_lifetime_s)),
            self.transports.recorder,
            self.counters,
        )
        self.traces = Traces(database, clock, self._watch)

    def _keep_registries(self, database: Database, clock: Clock, box: SecretBox) -> None:
        """What people write down: boxes, logins, lines, realms and pools."""
        password_form = self.settings.password_form
        self.nas = NasService(database, clock, box, self.follower)
        self.subscribers = SubscriberService(database, clock, box, self.follower, password_form=password_form)
        self.passwords = PasswordService(database, clock, box, self.follower, password_form)
        self.lines = LineService(database, clock, self.follower)
        self.realms = RealmService(database, clock, self.follower)
        self.pools = PoolService(database, clock, self.follower)
        self.leases = LeaseKeeper(database, clock, lambda: self.directory.has_pools)

    def _follow_limits(self, database: Database, clock: Clock) -> None:
        """What arrears, an empty balance and a used-up allowance do to logins and to live sessions."""
        changes, refresh = self.sessions.changes, self.follower.refresh_subscribers
        has_garden = self.settings.garden is not None
        evaluation = Evaluation(changes)
        self.restricting = Restricting(clock, changes, has_garden=has_garden)
        self.crediting = Crediting(clock, changes, refresh, has_garden=has_garden)
        self.quota = QuotaService(database, clock, evaluation, refresh)
        self.quota_counter = QuotaCounter(database, clock, evaluation, refresh)

    def _policy(self, database: Database, clock: Clock, sessions: Sessions) -> Policy:
        """Who is let in, by which methods, and what has to be awaited for that."""
        settings = self.settings
        certificates = None if settings.eap_dir is None else Certificates(settings.eap_dir, settings.eap_tls_minimum)
        grants = PoolGrants(Allocator(database, clock), clock)
        accepts = None if database.is_sqlite else SharedAccepts(database)
        self._admission = Admission(clock, settings.entity_zone, sessions, grants, accepts)
        find, needs_binding = self.directory.resolve, settings.peap_needs_binding
        served = methods(settings.eap_methods, find, certificates, needs_binding=needs_binding)
        policy = Policy(self.directory, self._admission, served, store_password=self.passwords.changed_by_peer)
        self._eap = EapCollector(policy.eap_sessions, certificates)
        self.counters.eap = policy.eap_outcomes.ended
        return policy

    def _pass_changes_on(self, database: Database, clock: Clock) -> None:
        """CoA down the connections that NAS have opened, and what home servers ask for their users."""
        settings = self.settings
        self.relay = Relay(database, clock, self.transports.links, timeout_s=settings.coa_tls_timeout_s)
        self.coa.over_tls = self.relay.send
        self.dynamic = DynamicPort(
            clock,
            self.transports.home_server,
            self.registry.by_id.values,
            self.coa,
            find_box=self.follower.nas,
            own_realm=settings.operator_name,
            reuse_port=settings.reuse_port,
        )
        if settings.operator_name or settings.dynamic_port is not None:
            self.transports.take_dynamic = self.dynamic.take

    def use_credit(
        self,
        control: CreditControl,
        without_credit: WithoutCredit | None = None,
        told_limit: ToldLimit | None = None,
    ) -> None:
        """Who grants slices of prepaid balances, knows whose are used up, and how long they last; before `start`."""
        self._admission.credit = Credit(control)
        self.sessions.changes.without_credit = without_credit
        self.sessions.limit_by(told_limit)

    def _watch(self, traces: Traces | None) -> None:
        """Show every datagram and every dynamic request to `traces`, or to nobody."""
        tap = None if traces is None else traces.see
        self.listener.tap = tap
        self.transports.watch(tap, None if traces is None else traces.see_forwarded)
        self.coa.tap = None if traces is None else traces.see_dynamic
        self.sessions.watch(None if traces is None else traces.see_session)

    async def start(self) -> None:
        """Load the directory, then open the ports: nobody is refused for being not loaded yet."""
        # Looking for cycles among a million rows that make none would take a third of the time.
        gc.disable()
        try:
            await self.follower.load()
        finally:
            gc.enable()
        # What was loaded stays for the life of the process; walking 100,000 subscribers in each full collection would
        # hold up every packet that arrives meanwhile.
        gc.freeze()
        for name in unserved(self.settings.eap_methods, self.settings.password_form):
            log.warning("radius.eap.method-unserved", method=name, password_form=self.settings.password_form)
        await self.sessions.changes.start()
        await self.transports.start()
        await self.listener.start()
        if self.settings.dynamic_port is not None:
            await self.dynamic.open(self.settings.host, self.settings.dynamic_port)

    async def run(self) -> None:
        """Bring passwords into the site's form, if that was changed; then follow other processes, and pursue
        changes of live sessions, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.follower.run())
            tasks.create_task(self.passwords.run())
            tasks.create_task(self.transports.run())
            tasks.create_task(self.visited.run())
            tasks.create_task(self.leases.run())
            tasks.create_task(self.quota_counter.run())
            tasks.create_task(self.sessions.changes.run())
            if self.transports.radsec is not None:
                tasks.create_task(self.relay.run())

    def close(self) -> None:
        self.traces.close()
        self.listener.close()
        self.dynamic.close()
        self.transports.close()

    def register_metrics(self, registry: CollectorRegistry) -> None:
        """Once per process: with prometheus_client.REGISTRY."""
        registry.register(RadiusCollector(self.counters, self.directory))
        registry.register(self._eap)
        registry.register(PoolCollector(self.leases))


def _duplicates(settings: RadiusSettings) -> Duplicates:
    return Duplicates(lifetime_s=settings.duplicate_lifetime_s, capacity=settings.duplicate_capacity)
