#include <cstdint>
#include <utility>

#include <green/detail/home.hpp>
#include <green/greenlet.hpp>
#include <green/link.hpp>
#include <green/shield.hpp>

#include "sched/hub.hpp"

namespace green {

/// Outlives its node while the greenlet that runs it stands in the ring.
struct Link::Call {
    // One of the two.
    std::function<void()> plain;
    std::function<void(const AnyGreenlet&)> with_greenlet;
    bool may_wait = true;
    detail::ContextPtr context = detail::current_task().inherited;  // of the one who made the link
    bool taken_back = false;
};

struct Link::Node final : detail::Collector, detail::Orphan {
    Node(std::unique_ptr<detail::WaitNode> what, Call&& its_call)
        : node{std::move(what)}, call{std::make_shared<Call>(std::move(its_call))} {
        if (!call->plain && !call->with_greenlet) throw UsageError("a link needs a function");
    }
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node() override {
        if (!home_.is_here()) {  // what it stands in is the parent's, and its neighbours are
            (void)node.release();
            return;
        }
        if (!node->fired() && !node->lost()) node->disarm();
        stop_counting();
    }

    void begin() {
        if (node->arm_for(*this)) {
            run();
        } else if (node->reach() == detail::Reach::outside) {
            detail::Hub& hub = detail::Hub::current();
            hub.begin_outside_wait();
            counted_by_ = hub.number();
        }
    }
    void collect(detail::WaitNode&) noexcept override {
        if (!home_.is_here()) return;  // in a forked child it is the parent's, who would run
        stop_counting();
        if (!node->lost()) run();
        if (detached) delete this;
    }
    void run() noexcept {
        try {
            if (greenlet != nullptr) {
                greenlet->retain();
                const AnyGreenlet handle{detail::TaskPtr<detail::Task>{greenlet}};
                start(deferred([its = call, handle] { invoke(*its, handle); }));
            } else {
                start(deferred([its = call] { invoke(*its); }));
            }
        } catch (...) {  // no memory for the greenlet
            detail::Hub::current().report_error("a link", std::current_exception());
        }
    }
    void start(AnyGreenlet runner) noexcept {
        runner.task().inherited = call->context;
        runner.start();
    }
    template <class... Arguments>
    static void invoke(const Call& its, const Arguments&... arguments) {
        if (its.taken_back) return;
        std::optional<NoSwitch> fence;
        if (!its.may_wait) fence.emplace("a raw link must not wait");
        if constexpr (sizeof...(Arguments) == 0) {
            its.plain();
        } else {
            its.with_greenlet(arguments...);
        }
    }

    std::unique_ptr<detail::WaitNode> node;
    std::shared_ptr<Call> call;
    detail::Task* greenlet = nullptr;  // whose end it is; lives at that time
    bool detached = false;

 private:
    void stop_counting() noexcept {
        const std::uint32_t counted_by = std::exchange(counted_by_, 0);
        // A link may outlive its hub.
        detail::Hub* const hub = detail::Hub::current_or_null();
        if (hub != nullptr && hub->number() == counted_by) hub->end_outside_wait();
    }

    const detail::Home home_;
    std::uint32_t counted_by_ = 0;  // the hub, as a wait for the world outside
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

Link Link::make(std::unique_ptr<Node> node) {
    node->begin();
    return Link{std::move(node)};
}

void Link::detach() noexcept {
    if (!node_) return;
    if (node_->node->fired() || node_->node->lost()) {
        node_.reset();
    } else {
        node_->detached = true;
        Node& node = *node_.release();  // deletes itself when it fires
        if (detail::Hub* hub = detail::Hub::current_or_null()) hub->adopt(node);
    }
}

Link link(AnyWaitable object, std::function<void()> function) {
    return Link::make(std::make_unique<Link::Node>(
        object.node(), Link::Call{.plain = std::move(function), .with_greenlet = {}}));
}
Link rawlink(AnyWaitable object, std::function<void()> function) {
    return Link::make(std::make_unique<Link::Node>(
        object.node(),
        Link::Call{.plain = std::move(function), .with_greenlet = {}, .may_wait = false}));
}

Link AnyGreenlet::make_link(std::function<void(const AnyGreenlet&)> function, bool may_wait) const {
    auto node = std::make_unique<Link::Node>(
        std::make_unique<Ready>(*this),
        Link::Call{.plain = {}, .with_greenlet = std::move(function), .may_wait = may_wait});
    node->greenlet = task_.get();
    return Link::make(std::move(node));
}

Link AnyGreenlet::link(std::function<void(const AnyGreenlet&)> function) const {
    return make_link(std::move(function), true);
}
Link AnyGreenlet::rawlink(std::function<void(const AnyGreenlet&)> function) const {
    return make_link(std::move(function), false);
}
Link AnyGreenlet::link_value(std::function<void(const AnyGreenlet&)> function) const {
    if (!function) throw UsageError("a link needs a function");
    return link([f = std::move(function)](const AnyGreenlet& ended) {
        if (ended.successful()) f(ended);
    });
}
Link AnyGreenlet::link_exception(std::function<void(const AnyGreenlet&)> function) const {
    if (!function) throw UsageError("a link needs a function");
    return link([f = std::move(function)](const AnyGreenlet& ended) {
        if (!ended.successful()) f(ended);
    });
}

}  // namespace green
