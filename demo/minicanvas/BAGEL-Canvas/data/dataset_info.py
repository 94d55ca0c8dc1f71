# minicanvas: the data sets that the trainer knows. Edited by hand by those who train, so it looks as such files look.

from .interleave import OtherRows
from .interleave import ReasoningRows


DATASET_REGISTRY = {
    'figure_editing': OtherRows,
    'figure_repair': OtherRows,
    
    'captions_from_code': OtherRows,
    'mixed_captions': OtherRows,

    "interleave_reasoning": ReasoningRows,


    'plain_t2i': OtherRows,
    'chat_vlm': OtherRows,
}


DATASET_INFO = {
    'figure_editing':{
        'ruler_and_compass': {
            'data_dir': 'put_your_path_here/figures/ruler_and_compass/train',
            'num_files': 320,
            'parquet_info_path': 'put_your_path_here/figures/ruler_and_compass/train_info.json',
            "num_total_samples": 1280000,
		},
    },
    'figure_repair':{
        'missing_lines': {
            'data_dir': 'put_your_path_here/figures/missing_lines/train',
            'num_files': 64,
            'parquet_info_path': 'put_your_path_here/figures/missing_lines/train_info.json',
            "num_total_samples": 250000,
		},
    },

    'captions_from_code': {
        'plots': {
            'data_dir': "put_your_path_here/captions/plots/train",
            'num_files': 128, # units that are dealt to ranks and workers
            'num_total_samples': 900000,
        },
    },
    'mixed_captions': {
        'contests': {
            'data_dir': "put_your_path_here/captions/contests/train",
            'num_files': 48, # units that are dealt to ranks and workers
            'num_total_samples': 300000,
        },
        'school_books': {
            'data_dir': "put_your_path_here/captions/school_books/train",
            'num_files': 12, # units that are dealt to ranks and workers
            'num_total_samples': 60000,
        },
    },
    
    'interleave_reasoning':{
        'proofs_with_pictures': {
            'data_dir': "put_your_path_here/proofs/train",
            'num_files': 40,
            'parquet_info_path': "put_your_path_here/proofs/train_info.json",
            "num_total_samples": 150000,
        },
    },


    'plain_t2i': {
        't2i': {
            'data_dir': 'put_your_path_here/examples/t2i', # where the parquet files lie
            'num_files': 10, # units that are dealt to ranks and workers
            'num_total_samples': 1000, # samples of all files
        },
    },
    'chat_vlm': {
        'pictures_and_talk': {
			'data_dir': 'put_your_path_here/examples/vlm/images',
			'jsonl_path': 'put_your_path_here/examples/vlm/talk.jsonl',
			'num_total_samples': 1000
		},
    },
}