"""Digests of the patched files, made by tools/patch_digests.py from upstream's: do not edit below.

For each file and each known version of it: the names of the patches on it, in order, and its SHA-256 with them.
"""

from __future__ import annotations


def versions(path: str, name: str) -> tuple[tuple[str, str], ...]:
    """SHA-256 of the file before the patch of that name is put on it, and after, for whatever lies below."""
    return tuple(
        (states[stack.rpartition(" ")[0]], digest)
        for states in STATES.get(path, ())
        for stack, digest in states.items()
        if stack.split()[-1:] == [name]
    )


STATES: dict[str, tuple[dict[str, str], ...]] = {
    "train/fsdp_utils.py": (
        {
            "": "97c822d93f9083c2a0da16633eda12a46e868851cc8c2b6015d1733292d0d1db",
            "lean": "c443027299848a7499d59d8fd997e5d4c173e333e5a12b68c458da72b2789360",
            "no_ema": "1fe5b07d967134e3427b47c135816ce24e1f2aba3226cab3d66d71dbf83f4d7b",
            "no_ema lean": "4d1146b7739bfa469ccedcac3ae523b8b385078ca4bb1bd19a084cf05569e5a0",
            "no_ema frozen": "45401b7629da6ab32ac0ba84791b442b2a78a2d14dc3b9f8c0a04f26a312d0ad",
            "no_ema frozen lean": "fbbeff11e9ebbd6a7e764399a3a130e9172a2baa209e1a67f9660e63aac150af",
            "no_ema frozen lean streamed": "d0695c4438d9efa11c78abbd74f5297bd71e617fb366fafdba55d5d2f41a1035",
            "no_ema frozen lora": "4245b47546b38571db6085df4d3add2e904d6d1228f451897971fb75561c3b53",
            "no_ema frozen lora lean_lora": "07121bcc31b3f8f84e2637b7d0ceca7a3da13f8d68a0eb1d4015930e5985a876",
            "no_ema frozen lora lean_lora streamed": "ff1965333ad5ed47adec11fc0d41e71b819d6131ae0aaff727ab74d1f8335b1f",
        },
    ),
    "train/pretrain_unified_navit.py": (
        {
            "": "56803ec4580d140f48ad37a34b400a26b045c10b0f7cbd5fa6bb9e3c1cc97848",
            "lean": "1bc90e842fe851181206ea397da043430fe9d7a41a03a5f263b4260dfdc43b89",
            "optimizer": "2e29a0d5637850470f72d8d9bee9046dcb008a39b2e65c8f1879b34c65515553",
            "optimizer lean": "576e99ff5c27c6535e2e13d2bdbf89c212fef9a55aac5ce2ba763f55eeefcbb4",
            "no_ema": "ee0b82b13cdc614a1458ad630b5d36775553d6ba445ecf39cf6fc81080161a6c",
            "no_ema lean": "662f3d357798cb5fc1814746dbb0f354239368fc63728e522be2635ee7c6bb96",
            "no_ema optimizer": "1379af305a642d6081fae5886bbc6a812e1777e986d3408ed71e5e17cb26b7bb",
            "no_ema optimizer lean": "a06a0167fb5e7ca868cdda1ae5885c6b2fc96a7f674defeab3c48a8e929e4dea",
            "no_ema frozen": "c0f39cc4186b3a5d667431fbb9e9796ee7cdb965bb17fa8067995710a9105c3f",
            "no_ema frozen lean": "40f83633923a3852adecde69f39966ebfcc3482c6258486ab574d2bef57ebb61",
            "no_ema frozen optimizer": "061d0bdaab3dfd6a9534a52e09d9433d4aee3621a18a80cc4d93da03e13d4ba1",
            "no_ema frozen optimizer lean": "26f25988397e78eb963d5071898db15e398e60e47fd33ed2f7489dc7a724e69b",
            "no_ema frozen lora": "9c91459de69d737acc1c73008e3e28157fe164413c9697004370d5d3d2297858",
            "no_ema frozen lora lean": "b07b33514a02fc1fa3d2c1d3c467f812dcadba4e5b07f390a02954a687857463",
            "no_ema frozen lora optimizer": "ad8c6d11df7a1eaafe8ba6e8fedaa899b2716db941fa06d6979168084bbbae7b",
            "no_ema frozen lora optimizer lean": "f68ca333c0a130052e565406c4484598f70e31a10af5fd5293cdeaa39ec624cd",
        },
        {
            "": "54723c1474206056124420a1646b5ec5c8f3165dd583b1d53450bf1ae83f558f",
            "lean": "2e572c3d92e26a391836a14ae1ae1d2ae870a7452fea1d9dec7cebc23bdbd015",
            "optimizer": "c9f3465d9b8133ddeb31dadb040ecdf999fb77cd963be812cd82fe60f499c579",
            "optimizer lean": "400f83821209af4788b3f7200d27dc396245a9ec0d261659622d23fbff65792f",
            "no_ema": "e8e77c239f06d0880e61d597feff5b83255a4737229bd8b503caa43db78d8bee",
            "no_ema lean": "6803aae73a715df699f5c9879da013104b48cdcb943f19c98760ee5a0139ab1e",
            "no_ema optimizer": "5ab9719e88550a5dc9be33a00d4ef0cc75ad68287d04d2950c33daefc2233955",
            "no_ema optimizer lean": "2df8c785d6627c0dfd16e6e23f9f0cd0d0afaaad8c684a029f6f838eacf50a11",
            "no_ema frozen": "45ce09bbbe78371f5d73ce0bc373576e01463909394be93b5a08a08ec59cdf9c",
            "no_ema frozen lean": "aee5b88fcad432740f0ad9f6867feb82c91ac7f22dbb4b8ef70e6daf7e497f86",
            "no_ema frozen optimizer": "bdd86e4dea407ff22a2834c7acdd985700722610122b0e8542a0e29183650f11",
            "no_ema frozen optimizer lean": "864e5e32ee2947417209a6e3280497007f156b015dc3869fb7d47dc1e144be59",
            "no_ema frozen lora": "0c00c85a0b3f2faf807eccae8364db259bc33da6e22ff25f118d4dc43866a6a8",
            "no_ema frozen lora lean": "a776376cbbad09ef77a2c28b68da38f1518e2082ce5da696df55ced21d287237",
            "no_ema frozen lora optimizer": "a9a4022357742c0720fc93d6e49a67d08fcc79486244ef14b29423e906f83c70",
            "no_ema frozen lora optimizer lean": "2bb5f9b5b9dbcc0c89b75bd67edea55c1bbd625aa76c35cc99c387e4b9311020",
        },
    ),
}
