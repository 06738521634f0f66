"""Dunning over HTTP: the board, accounts with what is decided about them, policies and notices."""

from __future__ import annotations

import json

from starlette.responses import Response

from controller.domain.identity import AccountId
from controller.http.endpoint import Call, Endpoint, Page
from controller.http.models import In, MoneyOut
from erp.dunning import letter
from erp.dunning import policy as ladders
from erp.dunning.answers import (
    AccountOut,
    BoardOut,
    DebtOut,
    DecideIn,
    HoldIn,
    NoticeOut,
    NoticeQuery,
    NoticeWithTextOut,
    PauseOut,
    PlanIn,
    PlanMadeOut,
    PlanOut,
    PoliciesOut,
    PolicyIn,
    PolicyOut,
    PromiseIn,
    ReasonIn,
    RunOut,
    RunsOut,
    SegmentIn,
    StandingOut,
    StandingQuery,
    StepOut,
)
from erp.dunning.board import BoardService, claims_csv
from erp.dunning.notices import NoticeService
from erp.dunning.service import DunningService
from erp.dunning.service_answers import ServiceOut


def endpoints(dunning: DunningService, board: BoardService, notices: NoticeService) -> list[Endpoint]:
    return [*_accounts(dunning, board), *_decisions(dunning), *_policies(dunning), *_notices(notices)]


def _accounts(dunning: DunningService, board: BoardService) -> list[Endpoint]:
    async def show_board(_call: Call) -> BoardOut:
        return BoardOut.of(await board.board())

    async def account(call: Call) -> AccountOut:
        account_id = AccountId(call.path["account_id"])
        found = await dunning.standing(account_id, call.query_as(StandingQuery).day)
        day, services = found.state.day, await dunning.services(found)
        return AccountOut(
            **StandingOut.of(found, {served.kind for served, _ in services}).model_dump(),
            services=[ServiceOut.of(served, taken) for served, taken in services],
            debts=[
                DebtOut(
                    invoice_id=d.invoice_id, number=d.number, since=d.since, open=MoneyOut.of(found.money(d.open_minor))
                )
                for d in found.facts.debts
            ],
            pauses=[PauseOut.of(row, day) for row in await dunning.pauses(account_id)],
            plans=[PlanOut.of(plan, found) for plan in found.facts.agreements],
            steps=[StepOut.of(row) for row in await dunning.steps(account_id)],
        )

    async def runs(_call: Call) -> RunsOut:
        return RunsOut(runs=[RunOut.of(row) for row in await dunning.runs()])

    async def collections(_call: Call) -> Response:
        return Response(claims_csv(await board.to_collect()), media_type="text/csv")

    return [
        Endpoint(
            "GET",
            "/dunning/board",
            scope="finance:read",
            handler=show_board,
            summary="Who owes, by stage, with age and what comes next",
            returns=BoardOut,
        ),
        Endpoint(
            "GET",
            "/dunning/accounts/{account_id}",
            scope="finance:read",
            handler=account,
            summary="Where an account stands, now or at the end of any day, and why",
            query=StandingQuery,
            returns=AccountOut,
        ),
        Endpoint(
            "GET",
            "/dunning/runs",
            scope="finance:read",
            handler=runs,
            summary="The last nights",
            returns=RunsOut,
        ),
        Endpoint(
            "GET",
            "/dunning/collections",
            scope="finance:read",
            handler=collections,
            summary="Claims that are proposed for collection, a row for each invoice",
            media_type="text/csv",
        ),
    ]


def _decisions(dunning: DunningService) -> list[Endpoint]:
    async def hold(call: Call) -> PauseOut:
        body, account_id = call.body_as(HoldIn), AccountId(call.path["account_id"])
        made = await dunning.hold(
            account_id, until_on=body.until_on, lifts=body.lifts, reason=body.reason, actor=call.actor
        )
        return PauseOut.of(made, made.first_on)

    async def promise(call: Call) -> PauseOut:
        body, account_id = call.body_as(PromiseIn), AccountId(call.path["account_id"])
        amount = None if body.amount is None else body.amount.money()
        made = await dunning.promise(
            account_id, pays_on=body.pays_on, amount=amount, reason=body.reason, actor=call.actor
        )
        return PauseOut.of(made, made.first_on)

    async def hand_over(call: Call) -> PauseOut:
        made = await dunning.hand_over(
            AccountId(call.path["account_id"]), reason=call.body_as(ReasonIn).reason, actor=call.actor
        )
        return PauseOut.of(made, made.first_on)

    async def agree(call: Call) -> PlanMadeOut:
        body = call.body_as(PlanIn)
        parts = [(part.due_on, part.amount.money()) for part in body.instalments]
        made, currency = await dunning.agree(
            AccountId(call.path["account_id"]), parts, invoice_ids=body.invoice_ids, reason=body.reason,
            actor=call.actor,
        )  # fmt: skip
        return PlanMadeOut.of(made, currency)

    async def resume(call: Call) -> PauseOut:
        ended = await dunning.resume(call.path["pause_id"], actor=call.actor, reason=call.body_as(ReasonIn).reason)
        assert ended.until_on is not None
        return PauseOut.of(ended, ended.until_on)

    async def end_plan(call: Call) -> None:
        await dunning.end_plan(call.path["plan_id"], actor=call.actor, reason=call.body_as(ReasonIn).reason)

    async def assign(call: Call) -> StandingOut:
        body = call.body_as(SegmentIn)
        return StandingOut.of(
            await dunning.assign(
                AccountId(call.path["account_id"]),
                body.segment,
                since=body.since,
                reason=body.reason,
                actor=call.actor,
            )
        )

    def change(path: str, handler: object, summary: str, body: type[In], returns: object, status: int) -> Endpoint:
        return Endpoint(
            "POST", path, scope="finance:write", handler=handler, summary=summary, body=body, returns=returns,  # type: ignore[arg-type]
            status=status,
        )  # fmt: skip

    of_account = "/dunning/accounts/{account_id}"
    return [
        change(f"{of_account}/holds", hold, "Leave an account alone for some days, or for ever", HoldIn, PauseOut, 201),
        change(f"{of_account}/promises", promise, "The customer promises to pay by a day", PromiseIn, PauseOut, 201),
        change(f"{of_account}/plans", agree, "Agree on instalments of what is owed", PlanIn, PlanMadeOut, 201),
        change(f"{of_account}/hand-over", hand_over, "The claim was handed over", ReasonIn, PauseOut, 201),
        change(f"{of_account}/segment", assign, "To another segment", SegmentIn, StandingOut, 200),
        change("/dunning/pauses/{pause_id}/end", resume, "Dunning goes on", ReasonIn, PauseOut, 200),
        change("/dunning/plans/{plan_id}/end", end_plan, "A payment plan ends", ReasonIn, None, 204),
    ]


def _policies(dunning: DunningService) -> list[Endpoint]:
    async def policies(_call: Call) -> PoliciesOut:
        rows = await dunning.policies()
        shown = [
            PolicyOut(
                policy_id=row.policy_id,
                segment=row.segment,
                currency=row.currency,
                version=row.version,
                effective_on=row.effective_on,
                policy=json.loads(row.written),
                actor=row.actor,
                created_at=row.created_at,
            )
            for row in rows
        ]
        return PoliciesOut(policies=shown, built_in=dict(ladders.DEFAULT))

    async def add(call: Call) -> PolicyOut:
        body = call.body_as(PolicyIn)
        made = await dunning.add_policy(body.segment, body.currency, body.effective_on, body.policy, actor=call.actor)
        return PolicyOut(
            policy_id=made.policy_id,
            segment=made.segment,
            currency=made.currency,
            version=made.version,
            effective_on=made.effective_on,
            policy=body.policy,
            actor=call.actor,
            created_at=None,
        )

    return [
        Endpoint(
            "GET",
            "/dunning/policies",
            scope="finance:read",
            handler=policies,
            summary="Every version of every ladder",
            returns=PoliciesOut,
        ),
        Endpoint(
            "POST",
            "/dunning/policies",
            scope="finance:write",
            handler=add,
            summary="The next version of a segment's ladder, for what becomes due from a day on",
            body=PolicyIn,
            returns=PolicyOut,
            status=201,
        ),
    ]


def _notices(notices: NoticeService) -> list[Endpoint]:
    async def page(call: Call) -> Page:
        query = call.query_as(NoticeQuery)
        found = await notices.page(
            account_id=query.account_id, state=query.state, after=query.last(str), limit=query.rows
        )
        return Page.of(found, query, lambda n: (n.notice_id,), NoticeOut.of)

    async def show(call: Call) -> NoticeWithTextOut:
        found, content = await notices.show(call.path["notice_id"])
        return NoticeWithTextOut(
            **NoticeOut.of(found).model_dump(),
            subject=None if content is None else letter.subject(content),
            body=None if content is None else letter.plain(content),
        )

    async def pdf(call: Call) -> Response:
        return Response(await notices.pdf(call.path["notice_id"]), media_type="application/pdf")

    async def decide(call: Call) -> NoticeOut:
        body = call.body_as(DecideIn)
        return NoticeOut.of(
            await notices.decide(call.path["notice_id"], arrived=body.arrived, actor=call.actor, reason=body.reason)
        )

    return [
        Endpoint(
            "GET",
            "/dunning/notices",
            scope="finance:read",
            handler=page,
            summary="Letters and e-mails to customers, newest first",
            query=NoticeQuery,
            returns=NoticeOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/dunning/notices/{notice_id}",
            scope="finance:read",
            handler=show,
            summary="A notice and what it says",
            returns=NoticeWithTextOut,
        ),
        Endpoint(
            "GET",
            "/dunning/notices/{notice_id}/pdf",
            scope="finance:read",
            handler=pdf,
            summary="A letter, as it was drawn",
            media_type="application/pdf",
        ),
        Endpoint(
            "POST",
            "/dunning/notices/{notice_id}/decide",
            scope="finance:write",
            handler=decide,
            summary="Whether a notice arrived that the program died over",
            body=DecideIn,
            returns=NoticeOut,
        ),
    ]
