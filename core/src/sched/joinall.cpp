#include <green/joinall.hpp>
#include <green/wait.hpp>

namespace green {

std::vector<AnyGreenlet> joinall(std::span<const AnyGreenlet> greenlets, JoinOptions options) {
    WaitSet set;
    for (const AnyGreenlet& greenlet : greenlets) set.add(greenlet);
    std::vector<AnyGreenlet> ended;
    while (ended.size() < options.count) {
        const auto index = set.next(options.deadline);
        if (!index) break;
        ended.push_back(greenlets[*index]);
        if (options.raise_error && ended.back().outcome() == Outcome::failed)
            std::rethrow_exception(ended.back().exception());
    }
    return ended;
}

std::vector<AnyGreenlet> killall(std::span<const AnyGreenlet> greenlets, std::exception_ptr reason,
                                 Deadline deadline) {
    const AnyGreenlet me = current();
    bool me_too = false;
    for (const AnyGreenlet& greenlet : greenlets) {
        if (greenlet == me) {
            me_too = true;
        } else {
            greenlet.kill_soon(reason);
        }
    }
    if (me_too) me.kill_soon(reason);  // the last, since it throws here
    std::vector<AnyGreenlet> survivors;
    for (const AnyGreenlet& greenlet : greenlets) {
        if (greenlet == me || !greenlet.join(deadline)) survivors.push_back(greenlet);
    }
    return survivors;
}

}  // namespace green
