#include <green/group.hpp>

namespace green {

/// Lives from add() until its greenlet ends.
struct Group::Member : detail::ListHook {
    Member(Group& owner, const AnyGreenlet& member) : group{&owner}, greenlet{member}, end{*this} {}

    struct End final : detail::EndHook {
        explicit End(Member& owner) noexcept : member{&owner} {}
        void ended(detail::Task&) noexcept override {
            Group* group = member->group;
            delete member;
            group->left();
        }
        Member* member;
    };

    Group* group;
    AnyGreenlet greenlet;
    End end;
    bool killed = false;
};

void Group::add(const AnyGreenlet& greenlet) {
    if (greenlet.ready()) return;
    auto* member = new Member{*this, greenlet};  // deleted when its greenlet ends
    members_.push_back(*member);
    greenlet.task().end_hooks.push_back(member->end);
    ++size_;
    ++arrivals_;
}

void Group::left() noexcept {
    if (--size_ == 0) waiters_.fire_all();
}

bool Group::join(Deadline deadline) {
    if (empty()) return true;
    detail::ListNode node{waiters_, "a group's end"};
    return detail::park(node, deadline);
}

std::vector<AnyGreenlet> Group::members() {
    std::vector<AnyGreenlet> all;
    all.reserve(size_);
    members_.for_each(
        [&](detail::ListHook& hook) { all.push_back(static_cast<Member&>(hook).greenlet); });
    return all;
}

std::vector<AnyGreenlet> Group::kill(Deadline deadline) {
    // Each member is shot once in its life; those who join while the others die are shot in the
    // next round.
    while (!empty()) {
        std::vector<AnyGreenlet> targets;
        members_.for_each([&](detail::ListHook& hook) {
            auto& member = static_cast<Member&>(hook);
            if (!std::exchange(member.killed, true)) targets.push_back(member.greenlet);
        });
        for (const AnyGreenlet& greenlet : targets) greenlet.kill_soon();
        const std::uint64_t seen = arrivals_;
        if (!join(deadline)) return members();
        if (seen == arrivals_) break;
    }
    return {};
}

Group::~Group() {
    const Shield shield;
    kill();
}

}  // namespace green
