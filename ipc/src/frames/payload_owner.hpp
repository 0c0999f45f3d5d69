#pragma once

#include <kj/array.h>

namespace green::ipc {

// Nothing is ever deleted through kj's class, which has no virtual destructor.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"

/// Is told when the array goes that a payload was handed out in: Self::payload_gone(first, bytes).
template <class Self>
class PayloadOwner : public kj::ArrayDisposer {
 protected:
    ~PayloadOwner() = default;

 private:
    void disposeImpl(void* first, std::size_t size, std::size_t count, std::size_t,
                     void (*)(void*)) const final {
        static_cast<const Self*>(this)->payload_gone(first, size * count);
    }
};

#pragma GCC diagnostic pop

}  // namespace green::ipc
