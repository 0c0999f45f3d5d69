#include <utility>

#include <green/greenlet.hpp>

#include "sched/hub.hpp"

namespace green {

struct Link::Node final : detail::EndHook {
    /// Outlives the node while the function's greenlet stands in the ring.
    struct Call {
        std::function<void(const AnyGreenlet&)> function;
        bool taken_back = false;
    };

    explicit Node(std::function<void(const AnyGreenlet&)> function)
        : call{std::make_shared<Call>(Call{std::move(function)})} {}

    void ended(detail::Task& task) noexcept override {
        task.retain();
        run(AnyGreenlet{detail::TaskPtr<detail::Task>{&task}});
        if (detached) delete this;
    }
    void run(const AnyGreenlet& greenlet) noexcept {
        try {
            spawn([call = call, greenlet] {
                if (!call->taken_back) call->function(greenlet);
            });
        } catch (...) {  // no memory for the greenlet
            detail::Hub::current().report_error("a link", std::current_exception());
        }
    }

    std::shared_ptr<Call> call;
    bool detached = false;
};

Link::Link(std::unique_ptr<Node> node) noexcept : node_{std::move(node)} {}
Link::Link(Link&& other) noexcept = default;
Link& Link::operator=(Link&& other) noexcept {
    const Link old{std::exchange(node_, std::move(other.node_))};
    return *this;
}
Link::~Link() {
    if (node_) node_->call->taken_back = true;
}

void Link::detach() noexcept {
    if (!node_) return;
    if (node_->linked()) {
        node_->detached = true;
        (void)node_.release();  // deletes itself when the greenlet ends
    } else {
        node_.reset();
    }
}

Link AnyGreenlet::link(std::function<void(const AnyGreenlet&)> function) const {
    if (!function) throw UsageError("a link needs a function");
    auto node = std::make_unique<Link::Node>(std::move(function));
    if (ready()) {
        node->run(*this);
    } else {
        task_->end_hooks.push_back(*node);
    }
    return Link{std::move(node)};
}

}  // namespace green
