// Whatever a frame holds: it is refused as a message, or can be read to its last field.

#include <document.capnp.h>
#include <vector>

#include <green/errors.hpp>
#include <green/ipc/control.capnp.h>
#include <green/ipc/message.hpp>

#include "fuzz.hpp"

using namespace green::ipc;

namespace {

void look(std::string_view text) { fuzz::read_all(std::as_bytes(std::span{text})); }

void look(Document::Reader document) {
    look(view(document.getName()));
    look(view(document.getBody()));
    for (const auto part : document.getParts()) look(view(part));
}
void look(control::ToWorker::Reader message) {
    switch (message.which()) {
        case control::ToWorker::WELCOME: {
            const auto welcome = message.getWelcome();
            look(view(welcome.getSupervisor()));
            look(view(welcome.getPool()));
            look(view(welcome.getRunDir()));
            for (const auto name : welcome.getSockets()) look(view(name));
            break;
        }
        case control::ToWorker::QUEUE:
            look(view(message.getQueue().getName()));
            look(view(message.getQueue().getPath()));
            look(view(message.getQueue().getSchema()));
            break;
        case control::ToWorker::PIPE:
            look(view(message.getPipe().getName()));
            (void)message.getPipe().getLargest();
            break;
        case control::ToWorker::DRAIN:
            (void)message.getDrain().getMilliseconds();
            break;
    }
}
void look(control::FromWorker::Reader message) {
    if (message.isHello()) (void)message.getHello().getPid();
}

Frame frame_of(std::span<const std::byte> bytes) {
    Frame frame;
    frame.size = bytes.size();
    frame.payload =
        kj::heapArray<capnp::word>((bytes.size() + sizeof(capnp::word) - 1) / sizeof(capnp::word));
    if (bytes.empty()) return frame;
    std::memset(&frame.payload.back(), 0, sizeof(capnp::word));
    std::memcpy(frame.payload.begin(), bytes.data(), bytes.size());
    return frame;
}

template <class T>
void read(std::span<const std::byte> bytes) {
    try {
        const Message<T> message{frame_of(bytes)};
        look(*message);
    } catch (const green::ProtocolError&) {
    } catch (const kj::Exception&) {  // found only when a field is read
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    const std::size_t schema = input.below(3);
    const auto bytes = input.bytes(size);
    // Nothing is copied but the frame.
    const fuzz::LargestAllocation allocation{bytes.size() + 4096};
    if (schema == 0) read<Document>(bytes);
    if (schema == 1) read<control::ToWorker>(bytes);
    if (schema == 2) read<control::FromWorker>(bytes);
    return 0;
}
